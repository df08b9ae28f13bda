"""An orphan becomes a session's VM: by a human's yes alone, once, under every rule, at its own price."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.domain.approvals import BY_CLIENT, BY_OWNER, ApprovalState
from aleph_agentd.domain.errors import Conflict, Denied, Refusal
from aleph_agentd.domain.model import PublishedEnd, Stamp, VmState
from aleph_agentd.tools.toolbox import Toolbox
from support.fake_network import ADA, ADDRESS, a_crn
from support.world import ALICE, BOB, HOME, Machine, World

ORPHAN, OTHER = "ab" * 32, "cd" * 32
HOUR = timedelta(hours=1)
PAST_GRACE_S = 901


async def adopt(world: World, caller: Any = ALICE, **arguments: Any) -> Any:
    """The tool's answer."""
    asked = {"item_hash": ORPHAN, "ttl_hours": 4} | arguments
    return await Toolbox(world.services).call("aleph_adopt_vm", asked, caller=caller)


async def refusal(world: World, caller: Any = ALICE, **arguments: Any) -> str:
    """The code of its refusal, which says what to do next."""
    with pytest.raises(Refusal) as refused:
        await adopt(world, caller, **arguments)
    assert refused.value.hint
    return refused.value.code


async def found(world: World, item_hash: str = ORPHAN, stamp: Stamp | None = None, **content: Any) -> None:
    """A VM on the first CRN that the last sweep found without a row."""
    world.network.stranger(item_hash, stamp=stamp, crn=a_crn(1).hash, **content)
    world.network.pools[a_crn(1).url].add(item_hash)
    world.clock.forward(seconds=PAST_GRACE_S)
    await sweep(world)


async def sweep(world: World) -> None:
    """One pass, and what it began."""
    await world.services.sweeper.run()
    await world.quiet()


async def approve(world: World, approval_id: str, by: str = BY_OWNER) -> Any:
    """A yes, and what comes of it."""
    decided = await world.services.approvals.approve(approval_id, by)
    await world.quiet()
    return decided


async def test_nothing_happens_before_the_owner_s_yes_and_after_it_the_vm_is_the_session_s(
    world: World,
) -> None:
    """However small its price: with a lease from the yes on, its reservation, kill switches and an address."""
    await found(world)
    asked = await adopt(world)
    assert (asked["status"], asked["ttl_expires_at"]) == ("awaiting_approval", None)
    assert (asked["total_cost_estimate"], asked["total_cost_estimate_usd"]) == (5.7, 0.057)
    assert "credits (US$" in asked["approval_message"] and asked["approval_id"] in asked["next"]
    assert await world.rows() == []
    world.clock.forward(minutes=20)
    assert (await approve(world, asked["approval_id"])).state is ApprovalState.USED
    [vm] = await world.rows()
    assert (vm.state, vm.session, vm.project, vm.uid) == (VmState.RUNNING, "alice", ALICE.project, 1000)
    assert vm.expires_at == world.clock.now() + 4 * HOUR
    assert (vm.host_ipv4, vm.ssh_port) == ("203.0.113.7", 24000)
    assert await world.inventory.next_forget(vm.item_hash)
    past = money_of(vm, world)
    assert await world.money(vm) == (64_125 + past, 0)
    assert (await world.inventory.exposure("alice", world.clock.now(), uid=1000)).unapproved_day_units == 0


def money_of(vm: Any, world: World) -> int:
    """What it has cost before anybody took it in."""
    return int(vm.cost_units(world.clock.now()))


async def test_it_is_a_vm_like_any_other_then(world: World) -> None:
    """Of the project: extended and destroyed by it, only looked at by others; and reaped on time."""
    await found(world)
    await approve(world, (await adopt(world))["approval_id"])
    box = Toolbox(world.services)
    longer = await box.call(
        "aleph_extend_vm", {"item_hash": ORPHAN[:12], "additional_hours": 1}, caller=ALICE
    )
    assert longer["status"] == "extended"
    with pytest.raises(Denied):
        await box.call("aleph_destroy_vm", {"item_hash": ORPHAN}, caller=BOB)
    world.clock.forward(hours=5, minutes=1)
    await world.services.reaper.run()
    await world.quiet()
    assert world.network.billed() == []


async def test_whoever_waits_for_the_yes_gets_the_vm(world: World) -> None:
    """As for a create."""
    await found(world)
    asked = await adopt(world)
    waiting = asyncio.create_task(
        Toolbox(world.services).call(
            "aleph_wait_vm", {"item_hash": asked["approval_id"], "timeout_s": 20}, caller=ALICE
        )
    )
    await asyncio.sleep(0)
    await approve(world, asked["approval_id"])
    waited = await waiting
    assert (waited["ready"], waited["item_hash"]) == (True, ORPHAN)


async def test_a_yes_is_carried_out_once_however_often_and_by_however_many_it_is_asked(world: World) -> None:
    """The same request is one approval; a second session's yes finds a row; asked again it is told."""
    await found(world)
    first, again = await adopt(world), await adopt(world)
    assert first["approval_id"] == again["approval_id"]
    bobs = await adopt(world, BOB)
    assert bobs["approval_id"] != first["approval_id"]
    await asyncio.gather(approve(world, first["approval_id"]), approve(world, bobs["approval_id"]))
    [vm] = await world.rows()
    outcomes = {
        (await world.inventory.approval(one["approval_id"])).state  # type: ignore[union-attr]
        for one in (first, bobs)
    }
    assert outcomes == {ApprovalState.USED, ApprovalState.APPROVED}
    owner, other = (ALICE, BOB) if vm.session == "alice" else (BOB, ALICE)
    assert (await adopt(world, owner))["status"] == "adopted"
    assert await refusal(world, other) == "no_orphan"


async def test_a_spent_yes_gives_nothing_a_second_time(world: World) -> None:
    """Not even when the VM is without a row once more."""
    await found(world)
    await found(world, OTHER)
    used = await approve(world, (await adopt(world))["approval_id"])
    adoption = world.services.adoption
    offer = await adoption.look(OTHER, 4, ALICE)
    with pytest.raises(Denied) as refused:
        await adoption.adopt(offer, ALICE, replace(used, state=ApprovalState.APPROVED))
    assert refused.value.code == "approval_spent"
    assert [vm.item_hash for vm in await world.rows()] == [ORPHAN]


async def test_an_approved_adoption_survives_the_daemon(machine: Machine) -> None:
    """Killed between the yes and the row: the next life looks at the network, and does it once."""
    async with machine.life() as world:
        await found(world)
        asked = await adopt(world)
        await world.inventory.decide(
            asked["approval_id"],
            frozenset({ApprovalState.WAITING}),
            ApprovalState.APPROVED,
            BY_OWNER,
            "",
            world.clock.now(),
        )
    async with machine.life() as world:
        await world.services.approvals.load()
        await world.services.approvals.recover()
        await world.quiet()
        assert [vm.session for vm in await world.rows()] == ["alice"]
    async with machine.life() as world:
        await world.services.approvals.load()
        await world.services.approvals.recover()
        await world.quiet()
        assert len(await world.rows()) == 1


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_concurrent_vms": 0}, "max_concurrent_vms"),
        ({"max_daily_spend_units": 64_124}, "max_daily_spend"),
        ({"max_daily_spend_units": 64_125 + 3_000}, "max_daily_spend"),  # what it cost before counts, too
        ({"max_session_spend_units": 64_124}, "max_session_spend"),
        ({"balance_guard_percent": 0}, "balance_guard"),
        ({"max_ttl_hours": 3.0}, "max_ttl"),
        ({"max_hourly_burn_units": 14_249}, "max_hourly_burn"),
        ({"min_balance_units": 99_999_999}, "min_balance"),
        ({"allowed_crns": frozenset({"f" * 64})}, "allowed_crns"),
        ({"allowed_os_images": frozenset({"ubuntu22"})}, "allowed_os_images"),
    ],
)
async def test_nobody_is_asked_for_what_another_rule_refuses(
    machine: Machine, limits: dict[str, Any], code: str
) -> None:
    """And what is refused only once it was approved keeps its yes."""
    async with machine.life(human_approval_threshold_units=None, **limits) as world:
        await found(world, rootfs="d" * 64)
        assert await refusal(world) == code
        assert await world.inventory.approvals(open_only=False, limit=5) == []


async def test_every_rule_decides_again_when_it_is_carried_out(machine: Machine) -> None:
    """Between the question and the yes the day's money went elsewhere."""
    async with machine.life(max_daily_spend_units=64_125 + 3_600 + 30_000) as world:
        await found(world)
        asked = await adopt(world)
        await world.create(BOB, name="box", ttl_hours=2)
        decided = await approve(world, asked["approval_id"])
        assert decided.state is ApprovalState.APPROVED and "(max_daily_spend)" in decided.outcome
        assert [vm.name for vm in await world.rows()] == ["box"]


async def test_a_vm_that_counts_already_is_not_counted_twice(machine: Machine) -> None:
    """One live VM is allowed, and the orphan is that one."""
    async with machine.life(max_concurrent_vms=1, max_hourly_burn_units=14_250) as world:
        await found(world)
        await approve(world, (await adopt(world))["approval_id"])
        assert len(await world.rows()) == 1


async def test_a_dearer_one_is_asked_anew(world: World) -> None:
    """At the new price; nothing happened."""
    await found(world)
    asked = await adopt(world)
    world.network.cu_rate *= 2
    decided = await approve(world, asked["approval_id"])
    assert "asked anew" in decided.outcome and await world.rows() == []
    [anew] = await world.inventory.approvals(open_only=True, limit=5)
    assert anew.id != asked["approval_id"] and anew.units > decided.units


async def test_a_gpu_orphan_is_approved_and_reserved_at_its_own_price(world: World) -> None:
    """Not at a plain VM's."""
    await found(world, gpu=ADA.device_id, vcpus=3, memory=3 * 6144)
    asked = await adopt(world)
    assert (asked["hourly_cost"], asked["hourly_cost_usd"]) == (12.9375, 0.129375)
    await approve(world, asked["approval_id"])
    [vm] = await world.rows()
    assert vm.hourly_units == 3 * 43_125


async def test_another_installation_s_vm_is_refused_while_its_lease_runs(world: World) -> None:
    """Its extensions included; once it is over, it gets one extension more, which is published."""
    stamp = Stamp("elsewhere", "1e" * 16, world.clock.now() + HOUR)
    await world.network.post(
        await world.network.sign_extension(
            ORPHAN, PublishedEnd(1, world.clock.now() + 2 * HOUR), world.clock.now()
        )
    )
    await found(world, stamp=stamp)
    assert await refusal(world) == "not_yours"
    world.network.fail("published_ends")
    assert await refusal(world) == "unavailable"
    world.clock.forward(minutes=90)
    assert await refusal(world) == "not_yours"
    world.clock.forward(minutes=30)
    await approve(world, (await adopt(world))["approval_id"])
    [vm] = await world.rows()
    assert (vm.session, vm.lease_version) == ("alice", 3)
    assert await world.network.published_ends(ADDRESS) == {ORPHAN: PublishedEnd(2, vm.expires_at)}


async def test_its_own_lost_vm_is_left_to_the_daemon(world: World) -> None:
    """It is taken in with its own lease as soon as that is known."""
    world.network.fail("published_ends", times=9)
    await found(world, stamp=Stamp(HOME, "1e" * 16, world.clock.now() + HOUR))
    assert await refusal(world) == "own_stamp"


async def test_a_vm_with_a_row_is_no_orphan(world: World) -> None:
    """Whoever's it is; the refusal names the call that does what was meant."""
    vm = await world.create(BOB)
    assert await refusal(world, item_hash=vm.item_hash) == "no_orphan"
    with pytest.raises(Conflict) as refused:
        await adopt(world, item_hash=vm.item_hash)
    assert f"aleph_extend_vm with item_hash={vm.item_hash}" in refused.value.hint
    ended = await world.end(vm, passes=3)
    assert await refusal(world, item_hash=ended.item_hash) == "no_orphan"


async def test_what_is_not_there_or_not_known_is_no_orphan(world: World) -> None:
    """Nothing, two at once, or a network that does not answer: unknown is not "there is none"."""
    await sweep(world)
    assert await refusal(world) == "not_found"
    assert await refusal(world, item_hash="zz" * 8) == "not_found"
    await found(world)
    await found(world, "ab" * 16 + "cd" * 16)
    assert await refusal(world, item_hash=ORPHAN[:12]) == "not_found"
    world.network.fail("instances", times=2)
    await sweep(world)
    assert await refusal(world, item_hash=OTHER) == "unavailable"
    world.network.fail("price")
    assert await refusal(world) == "unavailable"


async def test_right_after_a_start_it_is_looked_for_first(machine: Machine) -> None:
    """No sweep has run yet: that is no reason to send anybody away."""
    async with machine.life() as world:
        world.network.stranger(ORPHAN, crn=a_crn(1).hash)
        world.clock.forward(seconds=PAST_GRACE_S)
        assert (await adopt(world))["status"] == "awaiting_approval"


async def test_an_orphan_that_ended_meanwhile_is_not_taken_in(world: World) -> None:
    """The network is listed anew before a yes is carried out."""
    await found(world)
    asked = await adopt(world)
    [forget] = await world.network.sign_forgets(ORPHAN, ADDRESS, 1)
    await world.network.post(forget)
    decided = await approve(world, asked["approval_id"])
    assert "(not_found)" in decided.outcome and await world.rows() == []


async def test_while_the_network_cannot_be_listed_a_yes_waits(world: World) -> None:
    """What was seen last is not what is there now."""
    await found(world)
    asked = await adopt(world)
    world.network.fail("instances")
    decided = await approve(world, asked["approval_id"])
    assert decided.state is ApprovalState.APPROVED and await world.rows() == []
    assert (await adopt(world))["status"] == "adopted"


@pytest.mark.parametrize("scope", ["", ALICE.project])
async def test_what_is_frozen_takes_nothing_in(world: World, scope: str) -> None:
    """Neither asks nor carries out."""
    await found(world)
    asked = await adopt(world)
    await world.services.freezes.freeze("a smell", scope=scope)
    assert await refusal(world) == "frozen"
    assert "(frozen)" in (await approve(world, asked["approval_id"])).outcome
    assert await world.rows() == []


async def test_a_client_s_answer_counts_only_where_the_owner_says_so(machine: Machine) -> None:
    """As for every other approval: through an elicitation, marked as the client's."""
    async with machine.life() as world:
        await found(world)
        asked = await adopt(world)
        approvals = world.services.approvals
        assert await approvals.question(asked["approval_id"], ALICE) is None
        with pytest.raises(Denied):
            await approvals.client_says(asked["approval_id"], ALICE, yes=True)
    async with machine.life(approval_by_client=True) as world:
        await sweep(world)
        asked = await adopt(world)
        question = await world.services.approvals.question(asked["approval_id"], ALICE)
        assert question is not None and "take in recovered-abababab" in question
        await world.services.approvals.client_says(asked["approval_id"], ALICE, yes=True)
        row = await world.inventory.approval(asked["approval_id"])
        assert row is not None and row.decided_by == BY_CLIENT
        assert (await adopt(world))["status"] == "adopted"


async def test_a_session_that_may_not_spend_takes_nothing_in(world: World) -> None:
    """Its settings name another key or payer."""
    await found(world)
    assert await refusal(world, replace(ALICE, spending_refused="another key")) == "other_settings"
