"""Creating VMs: what is on disk before anything leaves, and what comes of every answer that is lost."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.domain.errors import Conflict, Denied, Refusal, Unavailable
from aleph_agentd.domain.model import VmState
from aleph_agentd.ports import MessageStatus, Remembered
from aleph_agentd.services.provisioner import MAX_TRIES
from support.clock import NOON
from support.world import ALICE, BOB, HOME, World, a_request


async def _refused(world: World, **request: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await world.create(**request)
    return refused.value


async def test_a_create_ends_with_a_running_vm_and_its_address(world: World) -> None:
    """The straight line."""
    vm = await world.create()
    assert vm.state is VmState.RUNNING
    assert vm.ssh_command() == "ssh -p 24000 root@203.0.113.7"
    assert vm.expires_at == NOON + timedelta(hours=4)
    assert world.network.running() == world.network.billed() == [vm.item_hash]
    assert (vm.session, vm.project, vm.uid, vm.signer) == (
        "alice",
        ALICE.project,
        1000,
        world.network.address,
    )


async def test_the_intent_is_on_disk_before_the_first_byte_leaves(world: World) -> None:
    """Promise 1: row, signed bytes, kill switches and reservation, seen from inside the broadcast."""
    seen: list[Any] = []

    async def look(item_hash: str) -> None:
        row = await world.inventory.get(item_hash)
        message = await world.inventory.create_message(item_hash)
        forget = await world.inventory.next_forget(item_hash)
        seen.append((row, message, forget, await world.inventory.balances([item_hash])))

    world.network.before("post", look)
    vm = await world.create()
    row, message, forget, balances = seen[0]
    assert (row.state, row.broadcast_at) == (VmState.INTENDED, NOON)
    assert message.body == world.network.posted[0]
    assert forget is not None
    assert balances[vm.item_hash] == (14_250 * 9 // 2, 0)


async def test_what_is_public_for_ever_holds_no_name(world: World) -> None:
    """rules.md 10: the installation, a random lease id and the end; nothing that an agent wrote."""
    await world.create(name="secret-project", purpose="hunting")
    body = world.network.posted[0]
    assert HOME in body
    assert "secret-project" not in body
    assert "hunting" not in body


async def test_a_reply_that_is_lost_after_acceptance_makes_one_vm(world: World) -> None:
    """The status decides, never the answer of the POST."""
    world.network.fail("post", when="after")
    vm = await world.create()
    assert vm.state is VmState.RUNNING
    assert world.network.posted == world.network.posted[:1]
    assert world.network.billed() == [vm.item_hash]


async def test_bytes_that_never_arrived_are_posted_again_and_are_the_same(world: World) -> None:
    """One hash, however often it is sent."""
    world.network.fail("post", times=2)
    vm = await world.create()
    assert vm.state is VmState.RUNNING
    assert world.network.asked("post") == [vm.item_hash] * 3
    assert world.network.billed() == [vm.item_hash]


async def test_an_unknown_status_is_asked_again_and_not_posted_again(world: World) -> None:
    """Trouble is not a 404."""
    world.network.fail("status", times=3)
    vm = await world.create()
    assert vm.state is VmState.RUNNING
    assert len(world.network.posted) == 1


async def test_a_message_that_stays_pending_is_torn_down_in_the_end(world: World) -> None:
    """It may be processed later: the row goes on being watched."""
    world.network.next_instance = MessageStatus.PENDING
    refusal = await _refused(world)
    assert "did not process it in time" in refusal.message
    [vm] = await world.rows()
    assert vm.state is VmState.DESTROYING
    assert len(world.network.posted) == 1


async def test_a_rejected_create_says_why_and_does_not_wait_for_the_watch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other CRN helps; the row is watched, for a rejected message can come back to life."""
    monkeypatch.setattr("aleph_agentd.services.provisioner._BILLING_END_S", 3600.0)
    world.network.next_instance = MessageStatus.REJECTED
    refusal = await _refused(world)
    assert refusal.code == "create_failed"
    assert "not authorised" in refusal.message
    assert len(refusal.data["tried"]) == 1
    await world.quiet()
    [vm] = await world.rows()
    assert vm.state is VmState.DESTROYING
    assert vm.unknown_since is not None
    assert world.network.asked("notify") == []


@pytest.mark.parametrize("mood", ["refuses", "silent", "no_credits"])
async def test_a_crn_that_does_not_take_it_is_torn_down_before_the_next_best_is_tried(
    world: World, mood: Any
) -> None:
    """rules.md 15: an attempt starts after the previous one's billing has ended."""
    first, second = world.network.crn_list[:2]
    world.network.crn_does[first.hash] = mood
    billed: list[list[str]] = []
    world.tick_at("notify")

    async def look(_: str) -> None:
        billed.append(world.network.billed())

    world.network.before("post", look)
    order = await world.order()
    vm = await world.services.provisioner.wait(order.create_id, 30)
    assert (vm.state, vm.crn_hash) == (VmState.RUNNING, second.hash)
    assert billed[-1] == [], "the first attempt was still billed when the second one was broadcast"
    [before, after] = await world.inventory.attempts_of(order.create_id)
    assert after == vm
    assert before.forgotten_at is not None
    assert (await world.money(before))[0] == 0
    assert len(order.tried) == 1
    assert order.tried[0].startswith(first.name)


async def test_between_two_attempts_a_create_is_not_called_failed(world: World) -> None:
    """Whoever waits is not told that nothing comes of it, while a VM comes of it."""
    first, second = world.network.crn_list[:2]
    world.network.crn_does[first.hash] = "refuses"
    order = await world.order()
    hold = world.network.hold("estimate")
    await hold.arrival()
    waited = await world.services.provisioner.wait(order.create_id, 0)
    assert (waited.crn_hash, waited.running_at) == (first.hash, None)
    hold.go.set()
    vm = await world.services.provisioner.wait(order.create_id, 30)
    assert (vm.state, vm.crn_hash) == (VmState.RUNNING, second.hash)


async def test_at_most_three_crns_are_tried_and_the_refusal_tells_of_each(world: World) -> None:
    """Then it is the agent's turn."""
    for crn in world.network.crn_list:
        world.network.crn_does[crn.hash] = "refuses"
    refusal = await _refused(world)
    assert refusal.code == "create_failed"
    names = [text.partition(":")[0] for text in refusal.data["tried"]]
    assert names == [crn.name for crn in world.network.crn_list[:MAX_TRIES]]
    assert all("cannot host" in text for text in refusal.data["tried"])
    await world.quiet()
    assert world.network.billed() == []
    assert {vm.state for vm in await world.rows()} == {VmState.GONE}


async def test_a_named_crn_that_refuses_is_not_replaced_by_another(world: World) -> None:
    """The caller chose it, and may have a reason."""
    world.network.crn_does[world.network.crn_list[0].hash] = "refuses"
    refusal = await _refused(world, crn="crn-1")
    assert len(refusal.data["tried"]) == 1
    assert len(world.network.of_kind("INSTANCE")) == 1


async def test_when_the_limits_do_not_admit_a_second_attempt_the_first_is_told_too(machine: Any) -> None:
    """Each attempt is its own admitted row and counts against creates per hour."""
    async with machine.life(max_creates_per_hour=1) as world:
        world.network.crn_does[world.network.crn_list[0].hash] = "refuses"
        refusal = await _refused(world)
        assert "cannot host" in refusal.message
        assert "creates were tried in the last hour" in refusal.message
        assert len(refusal.data["tried"]) == 2
        await world.quiet()
        assert world.network.billed() == []


async def test_a_notify_that_comes_too_early_is_repeated(world: World) -> None:
    """The CRN's CCN may lag behind ours."""
    looks = 0

    async def lag(item_hash: str) -> None:
        nonlocal looks
        looks += 1
        world.network.statuses[item_hash] = MessageStatus.PENDING if looks < 3 else MessageStatus.PROCESSED

    world.network.before("notify", lag)
    assert (await world.create()).state is VmState.RUNNING
    assert looks == 3


async def test_a_notify_whose_answer_is_lost_is_looked_up_on_the_crn_s_list(world: World) -> None:
    """It blocks for up to a minute while the image downloads; a broken connection is no refusal."""
    world.network.fail("notify", when="after")
    vm = await world.create()
    assert vm.state is VmState.RUNNING
    assert len(world.network.asked("notify")) == 1


async def test_a_caller_that_is_cancelled_leaves_its_create_running(world: World) -> None:
    """The end of stdin cancels handlers; the VM comes to life all the same, and is tracked."""
    hold = world.network.hold("post")
    calling = asyncio.ensure_future(world.create())
    await hold.arrival()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    hold.go.set()
    await world.quiet()
    [vm] = await world.rows()
    assert vm.state is VmState.RUNNING


async def test_a_caller_cancelled_before_the_admission_leaves_no_untracked_vm(world: World) -> None:
    """Either there is a row, or nothing was broadcast."""
    hold = world.network.hold("estimate")
    calling = asyncio.ensure_future(world.create())
    await hold.arrival()
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    hold.go.set()
    await world.quiet()
    assert [vm.item_hash for vm in await world.rows()] == world.network.billed()


async def test_patience_ends_before_the_create_does(world: World) -> None:
    """Then the answer is the row as it is, and the job goes on."""
    hold = world.network.hold("notify")
    order = await world.order()
    await hold.arrival()
    vm = await world.services.provisioner.wait(order.create_id, 0)
    assert vm.state is VmState.PROVISIONING
    assert world.services.provisioner.under_way(order.create_id)
    hold.go.set()
    await world.quiet()
    assert (await world.row(vm)).state is VmState.RUNNING


async def test_patience_that_ends_between_two_attempts_is_no_refusal(world: World) -> None:
    """The first CRN refused, and its VM is being ended; the create goes on, and must not be called failed."""
    first, second = world.network.crn_list[:2]
    world.network.crn_does[first.hash] = "refuses"
    world.tick_at("notify")
    instance, forget = world.network.hold("post"), world.network.hold("post")
    order = await world.order()
    instance.go.set()
    await forget.arrival()
    vm = await world.services.provisioner.wait(order.create_id, 0)
    assert (vm.state, vm.crn_hash) == (VmState.DESTROYING, first.hash)
    forget.go.set()
    vm = await world.services.provisioner.wait(order.create_id, 30)
    assert (vm.state, vm.crn_hash) == (VmState.RUNNING, second.hash)


async def test_a_create_that_failed_before_it_was_waited_for_is_still_a_refusal(world: World) -> None:
    """A job that ended between two looks must not be answered as if the VM were coming."""
    world.network.next_instance = MessageStatus.REJECTED
    order = await world.order()
    await world.quiet()
    with pytest.raises(Unavailable, match="could not be created") as refused:
        await world.services.provisioner.wait(order.create_id, 1)
    assert refused.value.code == "create_failed"
    assert refused.value.data["tried"]


async def test_a_request_key_is_bound_to_its_create_in_the_same_transaction(world: World) -> None:
    """rules.md 12: stored in commit 1; a second create under it is refused, whatever it asks."""
    order = await world.order(key="k1")
    assert await world.inventory.remembered("k1") == Remembered(
        "aleph_create_vm", "arguments", order.create_id
    )
    with pytest.raises(Conflict):
        await world.order(key="k1", name="other")
    await world.quiet()
    assert len(world.network.billed()) == 1


async def test_the_attempts_of_one_create_share_its_request_key(world: World) -> None:
    """The second CRN is no second request."""
    world.network.crn_does[world.network.crn_list[0].hash] = "refuses"
    world.tick_at("notify")
    vm = await world.create(key="k1")
    remembered = await world.inventory.remembered("k1")
    assert remembered is not None
    assert remembered.create_id == vm.create_id


async def test_the_same_name_and_plan_in_one_session_is_the_same_vm(world: World) -> None:
    """Only there, and only while its lease covers the request."""
    vm = await world.create()
    same = world.services.provisioner.same_vm
    assert await same(a_request(), ALICE) == vm
    assert await same(a_request(ttl_hours=2), ALICE) == vm
    assert await same(a_request(), BOB) is None
    assert await same(a_request(ttl_hours=5), ALICE) is None
    assert await same(a_request(compute_units=2), ALICE) is None
    assert await same(a_request(os_image="debian12"), ALICE) is None
    assert await same(a_request(name="other"), ALICE) is None
    await world.services.teardown.order(vm.item_hash, "ended")
    assert await same(a_request(), ALICE) is None


async def test_a_live_name_is_refused_to_another_session(world: World) -> None:
    """Names are unique among live VMs."""
    await world.create()
    with pytest.raises(Conflict) as refused:
        await world.order(BOB)
    assert refused.value.code == "name_taken"


async def test_two_sessions_at_once_never_pass_the_limit_together(machine: Any) -> None:
    """Promise 3: admission is one atomic step."""
    async with machine.life(max_concurrent_vms=3) as world:
        callers = [ALICE, BOB] * 4
        outcomes = await asyncio.gather(
            *(world.order(caller, name=f"vm-{n}") for n, caller in enumerate(callers)), return_exceptions=True
        )
        denied = [outcome for outcome in outcomes if isinstance(outcome, Denied)]
        assert [refusal.code for refusal in denied] == ["max_concurrent_vms"] * 5
        await world.quiet()
        assert len(world.network.billed()) == 3


async def test_two_sessions_at_once_never_pass_the_daily_spend_together(machine: Any) -> None:
    """The reservation of the first is seen by the second."""
    async with machine.life(max_daily_spend_units=14_250 * 9, max_concurrent_vms=9) as world:
        outcomes = await asyncio.gather(
            *(
                world.order(caller, name=f"vm-{caller.session}-{n}")
                for n in range(3)
                for caller in (ALICE, BOB)
            ),
            return_exceptions=True,
        )
        codes = [outcome.code for outcome in outcomes if isinstance(outcome, Denied)]
        assert codes == ["max_daily_spend"] * 4
        await world.quiet()
        assert len(world.network.billed()) == 2


async def test_a_denied_create_leaves_nothing(world: World) -> None:
    """No row, no bytes on the network."""
    world.network.credits.default_factory = lambda: 1000
    with pytest.raises(Denied):
        await world.order()
    await world.quiet()
    assert await world.rows() == []
    assert world.network.posted == []


async def test_without_a_key_nothing_is_created(world: World) -> None:
    """And the owner is told what to do."""
    plan = await world.plan()
    world.network.key_trouble = "no key file"
    with pytest.raises(Unavailable, match="no key file"):
        await world.services.provisioner.create(plan, ALICE, None, "")


async def test_while_the_daemon_stops_nothing_new_begins(world: World) -> None:
    """A shim sends it again to the next one."""
    world.services.provisioner.draining = True
    with pytest.raises(Unavailable, match="stopping"):
        await world.order()


async def test_an_estimate_far_off_the_price_list_refuses(world: World) -> None:
    """rules.md 17: more than 5 %."""
    world.network.estimate_factor *= 2
    with pytest.raises(Conflict) as refused:
        await world.order()
    assert refused.value.code == "estimate_off"
    assert world.network.posted == []


async def test_an_estimate_that_is_not_answered_refuses(world: World) -> None:
    """Unknown is no price."""
    world.network.fail("estimate")
    with pytest.raises(Unavailable):
        await world.order()
    assert await world.rows() == []


async def test_a_vm_ordered_to_end_during_its_birth_is_never_notified(world: World) -> None:
    """rules.md 5: right before each step the row is read again."""
    hold = world.network.hold("post")
    order = await world.order()
    await hold.arrival()
    [vm] = await world.rows()
    await world.services.teardown.order(vm.item_hash, "changed my mind")
    hold.go.set()
    await world.quiet()
    assert world.network.asked("notify") == []
    assert world.network.billed() == []
    with pytest.raises(Refusal):
        await world.services.provisioner.wait(order.create_id, 0)


async def test_a_lease_that_ends_during_its_birth_ends_the_birth(world: World) -> None:
    """A slow network must not resurrect it."""
    hold = world.network.hold("notify")
    await world.order(ttl_hours=0.01)
    await hold.arrival()
    world.clock.forward(hours=1)
    world.network.boots_slowly = True
    hold.go.set()
    await world.quiet()
    assert world.network.billed() == []
    assert world.network.running() == []
