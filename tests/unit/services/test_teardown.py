"""Ending VMs: each step, and everything that can stand in its way."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.domain.leases import UNKNOWN_PROOF
from aleph_agentd.domain.model import STUCK_AFTER_ATTEMPTS, Vm, VmState
from aleph_agentd.ports import MessageStatus, NetworkTrouble
from aleph_agentd.services.billing_end import FORGETS_PER_VM
from support.clock import NOON
from support.world import World


def _crn_does(world: World, vm: Vm, mood: Any) -> None:
    world.network.crn_does[vm.crn_hash] = mood


async def test_one_pass_ends_billing_erases_and_settles_what_was_used(world: World) -> None:
    """FORGET, confirmed by the status; erase, confirmed by the list; the rest of the reservation is free."""
    vm = await world.create()
    world.clock.forward(hours=1)
    row = await world.end(vm)
    assert row.state is VmState.GONE
    assert row.forgotten_at == row.erased_at == row.ended_at == NOON + timedelta(hours=1)
    assert world.network.billed() == world.network.running() == []
    assert await world.money(vm) == (0, 14_250)


async def test_each_step_is_stored_before_the_next_one(world: World) -> None:
    """Seen from inside the erase: the billing's end is on disk, its money settled, its slot free."""
    seen: list[Any] = []
    vm = await world.create()

    async def look(item_hash: str) -> None:
        seen.append((await world.row(vm), await world.inventory.exposure("alice", world.clock.now())))

    world.network.before("erase", look)
    await world.end(vm)
    row, exposure = seen[0]
    assert row.state is VmState.DESTROYING
    assert row.forgotten_at is not None
    assert (exposure.live_vms, exposure.reserved_units) == (0, 0)


async def test_the_order_is_durable_before_anything_is_posted(world: World) -> None:
    """Whoever starts next knows that it ends."""
    vm = await world.create()
    states: list[VmState] = []

    async def look(_: str) -> None:
        states.append((await world.row(vm)).state)

    world.network.before("post", look)
    await world.end(vm)
    assert states == [VmState.DESTROYING]


async def test_a_dead_crn_does_not_hold_up_the_end_of_billing(world: World) -> None:
    """FORGET goes to the CCN; the erase is asked again."""
    vm = await world.create()
    _crn_does(world, vm, "silent")
    row = await world.end(vm)
    assert (row.state, row.billing) == (VmState.DESTROYING, False)
    assert (await world.money(vm))[0] == 0
    _crn_does(world, vm, "accepts")
    row = await world.passes(vm)
    assert row.state is VmState.GONE
    assert len(world.network.of_kind("FORGET")) == 1


async def test_a_forget_whose_answer_is_lost_is_decided_by_the_status(world: World) -> None:
    """Posted again only if it must be, and then the same bytes."""
    vm = await world.create()
    world.network.fail("post", when="after")
    row = await world.end(vm, passes=2)
    assert row.state is VmState.GONE
    assert len(world.network.of_kind("FORGET")) == 1


async def test_a_forget_that_never_arrived_is_posted_again(world: World) -> None:
    """The same kill switch: it is not burnt."""
    vm = await world.create()
    world.network.fail("post")
    row = await world.end(vm, passes=2)
    assert row.state is VmState.GONE
    posts = world.network.asked("post")
    assert posts[-1] == posts[-2]


async def test_a_burnt_forget_is_never_posted_again_and_the_next_one_works(world: World) -> None:
    """rules.md 3: bytes that a CCN once refused are dropped when sent again."""
    vm = await world.create()
    first = await world.inventory.next_forget(vm.item_hash)
    assert first is not None
    # Somebody posted it while the target was unknown there.
    world.network.statuses[vm.item_hash] = MessageStatus.UNKNOWN
    await world.network.post(first)
    world.network.statuses[vm.item_hash] = MessageStatus.PROCESSED
    row = await world.end(vm)
    assert (row.state, row.attempts) == (VmState.DESTROYING, 1)
    assert "rejected" in row.last_error
    row = await world.passes(vm)
    assert row.state is VmState.GONE
    second = world.network.asked("post")[-1]
    assert second != first.item_hash
    assert world.network.statuses[second] is MessageStatus.PROCESSED


async def test_when_all_stored_forgets_are_burnt_fresh_ones_are_signed(world: World) -> None:
    """And stored first."""
    vm = await world.create()
    for _ in range(FORGETS_PER_VM):
        forget = await world.inventory.next_forget(vm.item_hash)
        assert forget is not None
        await world.inventory.burn_forget(vm.item_hash, forget.item_hash, world.clock.now())
    assert await world.inventory.next_forget(vm.item_hash) is None
    assert (await world.end(vm)).state is VmState.GONE


async def test_without_a_key_billing_ends_by_the_stored_forgets_and_the_erase_waits(world: World) -> None:
    """rules.md 4: a keystore that is locked after a reboot must not cost money."""
    vm = await world.create()
    world.network.key_trouble = "the keystore is locked"
    row = await world.end(vm)
    assert (row.state, row.billing) == (VmState.DESTROYING, False)
    assert "locked" in row.last_error
    assert world.network.billed() == []
    world.network.key_trouble = ""
    assert (await world.passes(vm)).state is VmState.GONE


async def test_without_a_key_and_without_stored_forgets_it_is_retried_and_shown(world: World) -> None:
    """Nothing is given up."""
    vm = await world.create()
    while forget := await world.inventory.next_forget(vm.item_hash):
        await world.inventory.burn_forget(vm.item_hash, forget.item_hash, world.clock.now())
    world.network.key_trouble = "no key file"
    row = await world.end(vm, passes=STUCK_AFTER_ATTEMPTS)
    assert row.stuck
    assert row.billing
    assert "no key file" in row.last_error


async def test_a_pending_target_is_waited_for_without_a_forget(world: World) -> None:
    """Posting one now could burn it; being busy is no failure, until it lasts too long."""
    world.network.next_instance = MessageStatus.PENDING
    await asyncio.gather(world.create(), return_exceptions=True)
    [vm] = await world.rows()
    row = await world.passes(vm)
    assert (row.state, row.attempts) == (VmState.DESTROYING, 0)
    world.clock.forward(minutes=4)
    assert (await world.passes(row, 7)).stuck
    assert world.network.of_kind("FORGET") == {}
    world.network.statuses[vm.item_hash] = MessageStatus.PROCESSED
    assert (await world.passes(vm)).state is VmState.GONE


async def _unprocessed(world: World, status: MessageStatus) -> Vm:
    """A VM whose message the network says it rejected, or does not know."""
    world.network.next_instance = MessageStatus.REJECTED
    await asyncio.gather(world.create(), return_exceptions=True)
    await world.quiet()
    [vm] = await world.rows()
    world.network.statuses[vm.item_hash] = status
    return vm


@pytest.mark.parametrize("status", [MessageStatus.REJECTED, MessageStatus.UNKNOWN])
async def test_rejected_or_unknown_is_watched_for_half_an_hour_and_then_failed_with_the_money_back(
    world: World, status: MessageStatus
) -> None:
    """rules.md 2: one answer is provisional; until the proof it counts as live, money and slot included."""
    vm = await _unprocessed(world, status)
    since = (await world.row(vm)).unknown_since
    assert since is not None
    while world.clock.now() - since < UNKNOWN_PROOF - timedelta(minutes=2):
        row = await world.passes(vm)
        assert row.state is VmState.DESTROYING
        assert (await world.money(vm))[0] > 0
    assert (await world.inventory.exposure("alice", world.clock.now())).live_vms == 1
    row = await world.passes(vm, 4)
    assert row.state is VmState.FAILED
    assert await world.money(vm) == (0, 0)
    assert "its create failed" in row.cause
    assert world.network.of_kind("FORGET") == {}, "a FORGET cannot pre-empt it; it would be burnt"


async def test_a_rejected_message_that_comes_back_to_life_is_forgotten(world: World) -> None:
    """After a top-up another CCN processes the public bytes."""
    vm = await _unprocessed(world, MessageStatus.REJECTED)
    world.clock.forward(minutes=29)
    world.network.statuses[vm.item_hash] = MessageStatus.PROCESSED
    row = await world.passes(vm)
    assert row.state is VmState.GONE
    assert world.network.billed() == []


@pytest.mark.parametrize("seen", [MessageStatus.PENDING, MessageStatus.PROCESSED])
async def test_what_was_seen_again_in_between_begins_the_watch_anew(
    world: World, seen: MessageStatus
) -> None:
    """Two unknowns half an hour apart prove nothing when the network knew it in between."""
    vm = await _unprocessed(world, MessageStatus.UNKNOWN)
    world.clock.forward(minutes=20)
    world.network.statuses[vm.item_hash] = seen
    if seen is MessageStatus.PROCESSED:
        world.network.fail("post")
    await world.passes(vm)
    world.network.statuses[vm.item_hash] = MessageStatus.UNKNOWN
    world.clock.forward(minutes=15)
    row = await world.passes(vm)
    assert row.state is VmState.DESTROYING
    assert row.unknown_since == world.clock.now()


async def test_a_vm_that_was_never_broadcast_ends_at_once(world: World) -> None:
    """Nothing left the machine, so nothing needs a proof."""
    hold = world.network.hold("post")
    order = await world.order()
    await hold.arrival()
    await world.services.jobs.drain(0)
    [vm] = await world.inventory.attempts_of(order.create_id)
    await world.inventory.note(vm.item_hash, broadcast_at=None)
    row = await world.end(vm)
    assert row.state is VmState.FAILED
    assert await world.money(vm) == (0, 0)


async def test_a_removed_message_has_ended_its_billing(world: World) -> None:
    """rules.md 1: a FORGET of it would be 501 for ever."""
    vm = await world.create()
    world.network.statuses[vm.item_hash] = MessageStatus.REMOVED
    row = await world.end(vm)
    assert row.state is VmState.GONE
    assert world.network.of_kind("FORGET") == {}


async def test_an_erase_that_answers_404_is_believed_only_when_the_list_agrees(world: World) -> None:
    """Not in the pool: gone already, success."""
    vm = await world.create()
    world.network.pools[vm.crn_url].clear()
    row = await world.end(vm)
    assert row.state is VmState.GONE
    assert world.network.asked("execution")[-1] == vm.item_hash


@pytest.mark.parametrize("mood", ["refuses_erase", "silent"])
async def test_an_erase_that_is_refused_or_unanswered_is_a_failed_attempt(world: World, mood: Any) -> None:
    """Backed off, kept, and asked again."""
    vm = await world.create()
    _crn_does(world, vm, mood)
    row = await world.end(vm)
    assert (row.state, row.attempts) == (VmState.DESTROYING, 1)
    assert row.last_error
    assert row.next_attempt_at is not None
    pause = (row.next_attempt_at - world.clock.now()).total_seconds()
    assert 8 <= pause <= 12


async def test_a_vm_that_its_crn_still_lists_is_not_gone(world: World) -> None:
    """200 says that the erase was begun; the first minutes are no failure, for ever is."""
    vm = await world.create()
    _crn_does(world, vm, "keeps_listing")
    row = await world.end(vm)
    assert (row.state, row.attempts, row.erased_at) == (VmState.DESTROYING, 0, None)
    world.clock.forward(minutes=3)
    row = await world.passes(vm, STUCK_AFTER_ATTEMPTS)
    assert row.stuck
    assert "still lists it" in row.last_error
    _crn_does(world, vm, "accepts")
    assert (await world.passes(vm)).state is VmState.GONE


async def test_after_six_failures_it_is_stuck_and_still_retried(world: World) -> None:
    """Never given up; a success ends it all the same."""
    vm = await world.create()
    _crn_does(world, vm, "silent")
    row = await world.end(vm, passes=STUCK_AFTER_ATTEMPTS - 1)
    assert not row.stuck
    row = await world.passes(vm)
    assert row.stuck
    assert row.next_attempt_at is not None
    _crn_does(world, vm, "accepts")
    row = await world.passes(vm)
    assert (row.state, row.stuck) == (VmState.GONE, False)


async def test_a_network_that_is_away_never_ends_a_vm(world: World) -> None:
    """Promise 5."""
    vm = await world.create()
    world.network.fail("status", times=50)
    row = await world.end(vm, passes=10)
    assert (row.state, row.billing, row.attempts) == (VmState.DESTROYING, True, 10)
    assert (await world.money(vm))[0] > 0


async def test_while_it_costs_money_retries_are_at_most_minutes_apart(world: World) -> None:
    """The network's return is not slept through."""
    vm = await world.create()
    world.network.fail("status", times=50)
    row = await world.end(vm, passes=12)
    assert row.next_attempt_at is not None
    assert row.next_attempt_at - world.clock.now() <= timedelta(minutes=3)


async def test_it_is_looked_up_five_minutes_after_its_end_and_half_an_hour_after_its_billing_s(
    world: World,
) -> None:
    """A late notify, another CCN (rules.md 2); then never again."""
    vm = await world.create()
    row = await world.end(vm)
    assert row.verified_at is None
    assert await world.inventory.next_due_at() == world.clock.now() + timedelta(minutes=5)
    world.clock.forward(minutes=5)
    row = await world.passes(vm)
    assert row.verified_at == world.clock.now()
    assert await world.inventory.next_due_at() == NOON + timedelta(minutes=30)
    world.clock.forward(minutes=25)
    row = await world.passes(vm)
    assert row.verified_at == world.clock.now()
    assert await world.inventory.next_due_at() is None


async def test_a_vm_that_a_late_notify_resurrected_is_erased_again(world: World) -> None:
    """notify brings it back from the CRN's caches, even after FORGET and erase."""
    vm = await world.create()
    await world.end(vm)
    world.network.pools[vm.crn_url].add(vm.item_hash)
    world.clock.forward(minutes=5)
    row = await world.passes(vm)
    assert (row.state, row.cause) == (VmState.DESTROYING, "its CRN runs it again")
    row = await world.passes(vm)
    assert row.state is VmState.GONE
    assert world.network.running() == []


async def test_a_vm_that_the_network_bills_again_is_forgotten_again(world: World) -> None:
    """rules.md 2: a row that comes back to life counts, even above limits."""
    vm = await world.create()
    await world.end(vm)
    world.network.statuses[vm.item_hash] = MessageStatus.PROCESSED
    world.clock.forward(minutes=5)
    row = await world.passes(vm)
    assert (row.state, row.billing) == (VmState.DESTROYING, True)
    assert (await world.inventory.exposure("", world.clock.now())).live_vms == 1
    row = await world.passes(vm, 2)
    assert row.state is VmState.GONE, "the first FORGET is spent: the next one ended it"
    assert world.network.billed() == []


async def test_a_lookup_that_fails_is_made_later_not_skipped(world: World) -> None:
    """Unknown is not gone."""
    vm = await world.create()
    await world.end(vm)
    world.clock.forward(minutes=5)
    world.network.fail("status")
    row = await world.passes(vm)
    assert row.verified_at is None
    row = await world.passes(vm)
    assert row.verified_at is not None


async def test_an_order_is_idempotent(world: World) -> None:
    """The first cause stays; a second caller joins."""
    vm = await world.create()
    first = await world.services.teardown.order(vm.item_hash, "first")
    world.clock.forward(seconds=5)
    second = await world.services.teardown.order(vm.item_hash, "second")
    assert second == first
    one, two = world.services.teardown.start(first), world.services.teardown.start(first)
    assert one is two
    await one
    assert (await world.row(vm)).state is VmState.GONE


async def test_an_order_for_another_version_of_the_lease_does_nothing(world: World) -> None:
    """rules.md 6: the reaper decided on a lease that was extended meanwhile."""
    vm = await world.create()
    row = await world.services.teardown.order(vm.item_hash, "late", lease_version=vm.lease_version + 1)
    assert row.state is VmState.RUNNING
    assert await world.row(vm) == vm


async def test_no_more_than_four_erases_go_to_one_host_at_once(machine: Any) -> None:
    """A CRN that hangs must not be hammered, nor hold up the others."""
    async with machine.life(max_concurrent_vms=12, balance_guard_percent=100) as world:
        vms = [await world.create(name=f"vm-{n}") for n in range(7)]
        holds = [world.network.hold("erase") for _ in range(7)]
        for vm in vms:
            world.services.teardown.start(await world.services.teardown.order(vm.item_hash, "all"))
        for hold in holds[:4]:
            await hold.arrival()
        assert len(world.network.asked("erase")) == 4
        for hold in holds:
            hold.go.set()
        await world.quiet()
        assert {vm.state for vm in await world.rows()} == {VmState.GONE}


async def test_what_one_ccn_denies_and_another_bills_is_forgotten(world: World) -> None:
    """rules.md 2: one CCN is not the network."""
    vm = await _unprocessed(world, MessageStatus.UNKNOWN)
    world.network.elsewhere = {vm.item_hash: MessageStatus.PROCESSED}
    row = await world.passes(vm)
    assert len(world.network.of_kind("FORGET")) == 1
    assert (row.state, row.billing) == (VmState.DESTROYING, True), "posted, and not confirmed by anybody"
    world.network.elsewhere = {vm.item_hash: MessageStatus.FORGOTTEN}
    row = await world.passes(vm)
    assert (row.state, row.billing) == (VmState.GONE, False)


async def test_a_rejection_that_two_ccns_agree_on_needs_no_half_hour(world: World) -> None:
    """Nobody holds its bytes back: both have seen and refused them."""
    vm = await _unprocessed(world, MessageStatus.REJECTED)
    assert (await world.passes(vm)).state is VmState.DESTROYING
    world.network.elsewhere = {}
    row = await world.passes(vm)
    assert row.state is VmState.FAILED
    assert await world.money(vm) == (0, 0)


async def test_an_unknown_message_is_watched_for_half_an_hour_whoever_agrees(world: World) -> None:
    """rules.md 5: its bytes may still be on their way."""
    vm = await _unprocessed(world, MessageStatus.UNKNOWN)
    world.network.elsewhere = {}
    row = await world.passes(vm, 5)
    assert (row.state, row.unknown_since is not None) == (VmState.DESTROYING, True)


async def test_a_vm_that_only_another_ccn_bills_again_is_torn_down_again(world: World) -> None:
    """The second look is on a second host if there is one."""
    vm = await world.create()
    await world.end(vm)
    world.network.elsewhere = {vm.item_hash: MessageStatus.PROCESSED}
    world.clock.forward(minutes=5)
    row = await world.passes(vm)
    assert (row.state, row.billing, row.verified_at) == (VmState.DESTROYING, True, None)


async def test_an_erase_that_nobody_can_confirm_is_given_up_after_a_week_off_the_list(world: World) -> None:
    """rules.md 1: its billing has ended long ago; the row says that nobody saw the end."""
    vm = await world.create()
    _crn_does(world, vm, "silent")
    listed = world.network.crn_list
    row = await world.end(vm)
    assert row.host_lost_at is None, "silent, but still on the list"
    world.network.crn_list = tuple(crn for crn in listed if crn.hash != vm.crn_hash)
    await _url_is_silent(world, vm)
    row = await world.passes(vm)
    assert row.host_lost_at == world.clock.now()
    world.clock.forward(days=6, hours=23)
    row = await world.passes(vm)
    assert row.state is VmState.DESTROYING
    world.clock.forward(hours=2)
    row = await world.passes(vm)
    assert (row.state, row.warned, row.erased_at) == (VmState.GONE, "gone_unverified", None)
    row = await world.passes(vm)
    assert row.verified_at is not None, "its status is looked up once more all the same"


async def _url_is_silent(world: World, vm: Vm) -> None:
    """A CRN that left the list does not answer either: the fake knows moods by the list alone."""

    async def hang_up(_: str) -> None:
        raise NetworkTrouble(vm.crn_url, "no answer in time")

    world.network.before("erase", hang_up)


async def test_a_crn_that_moved_is_found_at_its_new_address(world: World) -> None:
    """By its hash on the list; the wait for it begins anew."""
    vm = await world.create()
    world.network.fail("erase", times=2)
    await world.end(vm)
    moved = [replace(crn, url="http://127.0.0.99:8000") for crn in world.network.crn_list]
    world.network.crn_list = (*moved[:1], *world.network.crn_list[1:])
    row = await world.passes(vm)
    assert row.crn_url == "http://127.0.0.99:8000"
    assert (await world.passes(vm)).state is VmState.GONE


async def test_an_empty_list_of_crns_says_nothing_about_any_of_them(world: World) -> None:
    """Promise 5."""
    vm = await world.create()
    await _url_is_silent(world, vm)
    world.network.crn_list = ()
    assert (await world.end(vm)).host_lost_at is None


async def test_a_crn_that_answers_again_makes_all_its_vms_due_at_once(world: World) -> None:
    """They had backed off; whoever hears from it first tells."""
    vms = [await world.create(name=f"vm-{n}") for n in range(3)]
    _crn_does(world, vms[0], "silent")
    for vm in vms:
        await world.end(vm)
    assert min([(await world.row(vm)).next_attempt_at or NOON for vm in vms[:2]]) > world.clock.now()
    _crn_does(world, vms[0], "accepts")
    await world.services.teardown.run(vms[2].item_hash)
    due = await world.inventory.due(world.clock.now(), 10)
    assert {vm.item_hash for vm in due} == {vm.item_hash for vm in vms[:2]}
    await world.services.reaper.run()
    await world.quiet()
    assert {vm.state for vm in await world.rows()} == {VmState.GONE}


async def test_a_silent_crn_is_asked_now_and_then_whether_it_is_back(world: World) -> None:
    """However long its VMs have backed off: the first answer makes them due."""
    vm = await world.create()
    _crn_does(world, vm, "silent")
    row = await world.end(vm, passes=8)
    await world.services.teardown.probe_hosts()
    assert await world.row(vm) == row
    _crn_does(world, vm, "accepts")
    await world.services.teardown.probe_hosts()
    assert [due.item_hash for due in await world.inventory.due(world.clock.now(), 10)] == [vm.item_hash]
    assert (await world.passes(vm)).state is VmState.GONE
    asked = len(world.network.asked("executions"))
    await world.services.teardown.probe_hosts()
    assert len(world.network.asked("executions")) == asked, "it answers: nobody has to ask"


async def test_a_payer_that_took_our_authority_back_does_not_cost_all_kill_switches(world: World) -> None:
    """Each one that is posted meanwhile is burnt (rules.md 3): few tries, and the reason is shown."""
    vm = await world.create()
    world.network.revoked = True
    row = await world.end(vm)
    assert "has not authorised" in row.last_error
    assert row.next_attempt_at == world.clock.now() + timedelta(minutes=10)
    world.network.revoked = False
    assert (await world.passes(vm)).state is VmState.GONE
