"""A human's yes: for exactly one request, at most one price, one policy, once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from aleph_agentd.domain import policy
from aleph_agentd.domain.approvals import BY_CLIENT, BY_OWNER, VALID, Approval, ApprovalState
from aleph_agentd.domain.caller import Caller, Peer, SessionLimits
from aleph_agentd.domain.errors import Conflict, Denied, NotFound, Refusal
from aleph_agentd.domain.model import LIVE, Vm, VmState
from aleph_agentd.services.asked import ExtendRequest, words
from support.world import ALICE, BOB, Machine, World, a_request, until

THRESHOLD = 80_000
"""The worst case of the small VM for four hours is 64,125 units; of one for eight hours 121,125."""
STRANGER = Caller("stranger", Peer(1001, 7), client="pytest")


@pytest.fixture
async def world(machine: Machine) -> AsyncIterator[World]:
    """One life of the daemon, in which a human decides about long leases."""
    async with machine.life(human_approval_threshold_units=THRESHOLD) as life:
        yield life


async def asks(world: World, caller: Caller = ALICE, **request: Any) -> Approval:
    """A create that only a human may allow."""
    plan = await world.plan(caller, **({"ttl_hours": 8.0} | request))
    case = await world.services.planner.case(plan, caller, confirmed=True)
    return await world.services.approvals.ask(plan.request, caller, case, plan.rate)


async def approves(world: World, approval: Approval) -> Approval:
    """The owner says yes; what came of it."""
    decided = await world.services.approvals.approve(approval.id, BY_OWNER)
    await world.quiet()
    return decided


async def state(world: World, approval: Approval) -> ApprovalState:
    """Its state now."""
    row = await world.inventory.approval(approval.id)
    assert row is not None
    return row.at(world.clock.now())


async def test_nothing_is_created_before_a_yes_and_exactly_the_asked_thing_after_it(world: World) -> None:
    """Of the asking session, in its project."""
    approval = await asks(world)
    await world.quiet()
    assert await world.rows() == [] and world.network.billed() == []
    assert (await approves(world, approval)).state is ApprovalState.USED
    [vm] = await world.rows()
    assert (vm.name, vm.state, vm.session, vm.project) == ("box", VmState.RUNNING, "alice", ALICE.project)
    assert vm.expires_at - vm.created_at == 2 * (VALID * 8)


async def test_the_same_request_is_one_approval_however_often_it_is_sent(world: World) -> None:
    """Another session's is another one."""
    first = await asks(world)
    assert await asks(world) == first
    assert (await asks(world, BOB)).id != first.id
    assert (await asks(world, ttl_hours=8.5)).id != first.id


async def test_what_is_asked_is_one_event_from_which_the_owner_is_told(world: World) -> None:
    """Screen and webhook follow the events; nobody waits for them."""
    approval = await asks(world)
    assert (await asks(world)).id == approval.id
    [told] = [e.text for e in await world.inventory.events(0, 100) if e.kind == "approval_asked"]
    assert told == f"{approval.id}: create for pytest, at most 12.1125 credits (US$0.121125)"


async def test_a_yes_is_used_once(world: World) -> None:
    """Neither a second yes nor the same yes again makes a second VM."""
    approval = await asks(world)
    used = await approves(world, approval)
    with pytest.raises(Conflict) as refused:
        await approves(world, approval)
    assert refused.value.code == "not_waiting"
    with pytest.raises(Refusal):
        await world.services.approvals.carry_out(replace(used, state=ApprovalState.APPROVED))
    assert len(await world.rows()) == 1


async def test_two_at_once_use_a_yes_once(world: World) -> None:
    """Spent inside the admission: the store decides, not the service."""
    approval = await asks(world)
    now = world.clock.now()
    yes = await world.inventory.decide(
        approval.id, frozenset({ApprovalState.WAITING}), ApprovalState.APPROVED, BY_OWNER, "", now
    )
    plans = [await world.plan(ALICE, ttl_hours=8.0, name=name) for name in ("one", "two", "three")]
    outcomes = await asyncio.gather(
        *(world.services.provisioner.create(plan, ALICE, None, "", yes) for plan in plans),
        return_exceptions=True,
    )
    assert [o.code for o in outcomes if isinstance(o, Denied)] == ["approval_spent"] * 2
    await world.quiet()
    assert len(await world.rows()) == 1


async def test_a_crn_that_refuses_costs_no_second_approval(world: World) -> None:
    """Further attempts of the same create share it."""
    world.network.fail("notify")
    world.network.fail("notify")
    approval = await asks(world)
    await approves(world, approval)
    assert [vm.state for vm in await world.rows() if vm.state in LIVE] == [VmState.RUNNING]


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_concurrent_vms": 0}, "max_concurrent_vms"),
        ({"max_daily_spend_units": 100_000}, "max_daily_spend"),
        ({"balance_guard_percent": 0}, "balance_guard"),
        ({"max_ttl_hours": 6.0}, "max_ttl"),
        ({"max_creates_per_hour": 0}, "max_creates_per_hour"),
        ({"min_balance_units": 99_999_999}, "min_balance"),
    ],
)
async def test_a_yes_lifts_its_own_rule_only(machine: Machine, limits: Any, code: str) -> None:
    """Every other rule runs again, and the yes is kept for when it agrees."""
    async with machine.life(human_approval_threshold_units=THRESHOLD, **limits) as world:
        approval = await asks(world)
        decided = await approves(world, approval)
        assert decided.state is ApprovalState.APPROVED and f"({code})" in decided.outcome
        assert await world.rows() == []


async def test_what_could_not_be_done_at_once_is_done_when_it_can_be(world: World) -> None:
    """The same yes, once."""
    first = await world.create(name="first", ttl_hours=1)
    await world.create(name="box", ttl_hours=1)
    approval = await asks(world)
    assert "name_taken" in (await approves(world, approval)).outcome
    [box] = [vm for vm in await world.rows() if vm.name == "box"]
    await world.end(box)
    await world.services.approvals.carry_out(await asks(world))
    await world.quiet()
    assert sorted(vm.name for vm in await world.rows(VmState.RUNNING)) == ["box", "first"]
    assert (await world.row(first)).state is VmState.RUNNING
    assert await state(world, approval) is ApprovalState.USED


async def test_a_price_that_rose_is_asked_anew(world: World) -> None:
    """Dearer than approved: the old yes is void, and a new request waits (rules.md 16)."""
    approval = await asks(world)
    world.network.price_moves("1.04")
    await approves(world, approval)
    assert await world.rows() == []
    assert await state(world, approval) is ApprovalState.DENIED
    again = await world.services.approvals.successor(approval)
    assert (again.state, again.fingerprint) == (ApprovalState.WAITING, approval.fingerprint)
    assert again.units > approval.units
    await approves(world, again)
    assert len(await world.rows()) == 1


async def test_a_price_that_fell_is_covered(world: World) -> None:
    """A yes is for at most so much."""
    approval = await asks(world)
    world.network.price_moves("0.9")
    assert (await approves(world, approval)).state is ApprovalState.USED


async def test_another_policy_voids_what_was_asked_under_the_old_one(world: World) -> None:
    """Even one that has nothing to do with it: the owner looks again."""
    approval = await asks(world)
    treasury = world.services.treasury
    treasury.limits = replace(treasury.limits, max_creates_per_hour=19)
    with pytest.raises(Denied) as refused:
        await approves(world, approval)
    assert refused.value.code == "policy_changed"
    assert await state(world, approval) is ApprovalState.DENIED
    assert await world.rows() == []


async def test_a_denied_one_is_over(world: World) -> None:
    """It takes a new request."""
    approval = await asks(world)
    await world.services.approvals.deny(approval.id, BY_OWNER)
    with pytest.raises(Conflict):
        await approves(world, approval)
    assert await world.rows() == []
    assert (await asks(world)).id != approval.id


async def test_after_thirty_minutes_nobody_can_say_yes_any_more(world: World) -> None:
    """Whether or not anybody has written down that its time is over."""
    approval = await asks(world)
    world.clock.forward(seconds=VALID.total_seconds())
    with pytest.raises(Conflict, match="expired"):
        await approves(world, approval)
    await world.services.approvals.expire()
    assert await state(world, approval) is ApprovalState.EXPIRED
    assert await world.rows() == []


async def test_a_yes_that_could_not_be_used_in_time_is_over_too(machine: Machine) -> None:
    """It does not wait for ever for room."""
    async with machine.life(human_approval_threshold_units=THRESHOLD, max_concurrent_vms=0) as world:
        approval = await asks(world)
        await approves(world, approval)
        world.clock.forward(seconds=VALID.total_seconds())
        await world.services.approvals.expire()
        assert await state(world, approval) is ApprovalState.EXPIRED
        with pytest.raises(Denied) as refused:
            plan = await world.plan(ttl_hours=8.0)
            treasury = world.services.treasury
            treasury.limits = replace(treasury.limits, max_concurrent_vms=3)
            await world.services.provisioner.create(plan, ALICE, None, "", approval)
        assert refused.value.code == "approval_spent"


async def test_two_ignored_requests_make_a_user_wait_five_minutes(world: World) -> None:
    """A new session does not help; another user is not meant; a decision ends it."""
    for hours in (8.0, 9.0):
        await asks(world, ttl_hours=hours)
        world.clock.forward(minutes=30)
    for caller in (ALICE, BOB):
        with pytest.raises(Denied) as refused:
            await asks(world, caller)
        assert refused.value.code == "approval_pause"
    assert (await asks(world, STRANGER)).state is ApprovalState.WAITING
    world.clock.forward(minutes=5)
    await world.services.approvals.deny((await asks(world)).id, BY_OWNER)
    assert (await asks(world)).state is ApprovalState.WAITING


async def test_a_client_that_says_no_by_itself_is_slowed_down_like_one_that_says_nothing(
    world: World,
) -> None:
    """Else it could ask for ever."""
    for _ in range(2):
        await world.services.approvals.deny((await asks(world)).id, BY_CLIENT)
    with pytest.raises(Denied) as refused:
        await asks(world)
    assert refused.value.code == "approval_pause"


async def test_a_session_and_a_user_keep_few_requests_open(world: World) -> None:
    """Three of one session, ten of one user."""
    for number in range(3):
        await asks(world, name=f"box-{number}")
    with pytest.raises(Denied) as refused:
        await asks(world, name="box-3")
    assert refused.value.code == "too_many_approvals"
    for number in range(7):
        await asks(world, replace(ALICE, session=f"s-{number}"))
    with pytest.raises(Denied):
        await asks(world, replace(ALICE, session="s-7"))
    assert (await asks(world, STRANGER)).state is ApprovalState.WAITING


async def test_the_answer_survives_a_restart(machine: Machine) -> None:
    """Asked in one life, approved in the next, with the session's own limits still in force."""
    caller = replace(ALICE, limits=SessionLimits(allowed_os_images=frozenset({"ubuntu22", "debian12"})))
    async with machine.life(human_approval_threshold_units=THRESHOLD) as world:
        approval = await asks(world, caller)
    async with machine.life() as world:
        await world.services.approvals.load()
        assert approval.id in world.services.approvals.alerts("alice")[0]
        await approves(world, approval)
        [vm] = await world.rows()
        assert (vm.session, vm.state) == ("alice", VmState.RUNNING)


async def test_a_session_s_own_limits_hold_when_a_yes_is_carried_out(world: World) -> None:
    """A human lifts the threshold, not what the session's own settings forbid."""
    approval = await asks(world, replace(ALICE, limits=SessionLimits(max_ttl_hours=7.0)))
    assert "(max_ttl)" in (await approves(world, approval)).outcome
    assert await world.rows() == []


async def test_a_yes_before_a_crash_is_carried_out_after_it(machine: Machine) -> None:
    """Decided, and killed before the admission."""
    async with machine.life(human_approval_threshold_units=THRESHOLD) as world:
        approval, now = await asks(world), world.clock.now()
        waiting = frozenset({ApprovalState.WAITING})
        await world.inventory.decide(approval.id, waiting, ApprovalState.APPROVED, BY_OWNER, "", now)
    for _ in range(2):
        async with machine.life() as world:
            await world.services.provisioner.recover()
            await world.services.approvals.load()
            await world.services.approvals.recover()
            await world.quiet()
            assert len(await world.rows()) == 1


async def test_a_crash_after_the_admission_spends_the_yes_and_doubles_nothing(machine: Machine) -> None:
    """Killed between commit 1 and the broadcast: spent, whatever becomes of the VM."""
    async with machine.life(human_approval_threshold_units=THRESHOLD) as world:
        approval = await asks(world)
        hold = world.network.hold("post")
        deciding = asyncio.ensure_future(world.services.approvals.approve(approval.id, BY_OWNER))
        await hold.arrival()
    deciding.cancel()
    for _ in range(2):
        async with machine.life() as world:
            await world.services.provisioner.recover()
            await world.services.approvals.load()
            await world.services.approvals.recover()
            await world.quiet()
            assert await state(world, approval) is ApprovalState.USED
            assert len(await world.rows()) == 1
            assert len(world.network.billed()) <= 1


async def test_an_extension_is_approved_from_one_version_of_the_lease(world: World) -> None:
    """The whole life counts; who extended meanwhile asks again."""
    vm = await world.create()
    approval = await _asks_for_more(world, vm, 4)
    await approves(world, approval)
    longer = await world.row(vm)
    assert longer.expires_at == vm.expires_at + 4 * 2 * VALID
    published = await world.network.published_ends(world.network.address)
    assert published[vm.item_hash].expires_at == longer.expires_at, (
        "as any other extension, it is published at once"
    )
    assert await state(world, approval) is ApprovalState.USED
    other = await _asks_for_more(world, longer, 2)
    async with asyncio.timeout(10):
        await world.inventory.extend(
            vm.item_hash, longer.expires_at + VALID, 0, lambda _: None, world.clock.now(), "alice"
        )
    assert "(lease_changed)" in (await approves(world, other)).outcome
    assert (await world.row(vm)).expires_at == longer.expires_at + VALID


async def _asks_for_more(world: World, vm: Vm, hours: float) -> Approval:
    with pytest.raises(Denied) as denied:
        await world.services.extender.extend(vm, hours, ALICE)
    assert denied.value.code == policy.HUMAN_APPROVAL
    case = await world.services.extender.case(vm, hours)
    request = ExtendRequest(vm.item_hash, vm.name, hours, vm.lease_version)
    return await world.services.approvals.ask(request, ALICE, case, vm.rate)


async def test_many_small_vms_are_no_way_around_a_human(world: World) -> None:
    """What a user got unasked in 24 hours counts, over all of its sessions; other users' does not."""
    first = await world.create(name="a", ttl_hours=1)
    await world.create(BOB, name="b", ttl_hours=1)
    with pytest.raises(Denied) as denied:
        await world.create(replace(ALICE, session="fresh"), name="c", ttl_hours=3)
    assert denied.value.code == policy.HUMAN_APPROVAL and "without a human" in denied.value.message
    await world.create(STRANGER, name="c", ttl_hours=3)
    # What was not used is given back.
    await world.end(first)
    await world.create(name="d", ttl_hours=3)


async def test_many_small_extensions_are_no_way_around_a_human(world: World) -> None:
    """Nor does a VM's own life count twice."""
    vm = await world.create(ttl_hours=1)
    vm = await world.services.extender.extend(vm, 4, ALICE)
    with pytest.raises(Denied):
        await world.services.extender.extend(vm, 1, ALICE)
    with pytest.raises(Denied):
        await world.create(name="other", ttl_hours=1)


async def test_what_was_approved_counts_against_nobody(world: World) -> None:
    """Only what was got without a human does, and only for a day."""
    await approves(world, await asks(world))
    vm = await world.create(name="small", ttl_hours=4)
    with pytest.raises(Denied):
        await world.create(name="more", ttl_hours=1)
    world.clock.forward(hours=4)
    await world.end(vm)
    world.clock.forward(hours=21)
    await world.create(name="next day", ttl_hours=4)


async def test_three_denials_in_ten_minutes_freeze(world: World) -> None:
    """Something is wrong with whoever asks so; a client that says no by itself freezes nobody."""
    reasons: list[str] = []

    async def freeze(reason: str) -> None:
        reasons.append(reason)

    approvals = world.services.approvals
    approvals.freeze = freeze
    for number in range(3):
        world.clock.forward(minutes=3)
        caller = STRANGER if number == 1 else BOB
        await approvals.deny((await asks(world, caller, name=f"c-{number}")).id, BY_CLIENT)
    world.clock.forward(minutes=5)
    for number in range(2):
        await approvals.deny((await asks(world, name=f"a-{number}")).id, BY_OWNER)
    world.clock.forward(minutes=10)
    await approvals.deny((await asks(world, name="b")).id, BY_OWNER)
    assert reasons == []
    for number in range(2):
        await approvals.deny((await asks(world, name=f"d-{number}")).id, BY_OWNER)
    assert len(reasons) == 1 and "denied" in reasons[0]


async def test_after_a_lost_inventory_nothing_that_was_asked_holds(world: World) -> None:
    """rules.md 7."""
    approval = await asks(world)
    assert await world.services.approvals.void_all("the inventory was lost") == 1
    with pytest.raises(Conflict, match="the inventory was lost"):
        await approves(world, approval)
    assert world.services.approvals.alerts() == []


async def test_every_step_is_an_event_and_what_waits_is_an_alert_of_its_session(world: World) -> None:
    """For those who watch, and for the session that asked."""
    approval = await asks(world)
    assert approval.id in world.services.approvals.alerts("alice")[0]
    assert world.services.approvals.alerts("bob") == []
    await approves(world, approval)
    assert world.services.approvals.alerts() == []
    await world.services.approvals.deny((await asks(world, name="no")).id, BY_OWNER)
    await asks(world, name="late")
    world.clock.forward(minutes=30)
    await world.services.approvals.expire()
    kinds = [event.kind for event in await world.inventory.events(0, 100)]
    assert [kind for kind in kinds if kind.startswith("approval")] == [
        "approval_asked",
        "approval_approved",
        "approval_asked",
        "approval_denied",
        "approval_asked",
        "approval_expired",
    ]


async def test_what_was_never_asked_cannot_be_approved(world: World) -> None:
    """Guessing ids gets nobody anything."""
    with pytest.raises(NotFound):
        await world.services.approvals.approve("ap-0000000000", BY_OWNER)


async def test_the_fingerprint_is_of_everything(world: World) -> None:
    """Another key, purpose, size or image is another request."""
    base = await asks(world)
    seen = {base.fingerprint}
    await world.services.approvals.deny(base.id, BY_OWNER)
    changes: list[dict[str, Any]] = [
        {"ssh_pubkey": a_request().ssh_pubkey[:-4] + "wqXY"},
        {"purpose": "else"},
        {"compute_units": 2},
        {"os_image": "debian12"},
        {"max_hourly_units": 10**9},
    ]
    for change in changes:
        one = await asks(world, **change)
        seen.add(one.fingerprint)
        await world.services.approvals.deny(one.id, BY_OWNER)
    assert len(seen) == 1 + len(changes)


async def test_a_sign_of_lost_rows_voids_what_was_asked(world: World) -> None:
    """rules.md 7: together with the quotes."""
    approval = await asks(world)
    await world.services.restoration.begin("the network holds a VM of ours without a row")
    with pytest.raises(Conflict, match="without a row"):
        await approves(world, approval)


async def test_an_old_inventory_that_was_put_back_approves_nothing(machine: Machine) -> None:
    """What it says was approved may have been used since (rules.md 7)."""
    async with machine.life(human_approval_threshold_units=THRESHOLD) as world:
        approval, now = await asks(world), world.clock.now()
        waiting = frozenset({ApprovalState.WAITING})
        await world.inventory.decide(approval.id, waiting, ApprovalState.APPROVED, BY_OWNER, "", now)
        await world.inventory.mark_restored("an old copy was put back", now)
    async with machine.life() as world:
        await world.services.approvals.load()
        await world.services.approvals.recover()
        await world.quiet()
        assert await state(world, approval) is ApprovalState.DENIED
        assert await world.rows() == []


async def test_the_owner_s_denials_freeze_the_daemon(world: World) -> None:
    """As app.py joins it."""
    for number in range(3):
        await world.services.approvals.deny((await asks(world, name=f"a-{number}")).id, BY_OWNER)
    with pytest.raises(Refusal) as refused:
        await world.create(name="small", ttl_hours=1)
    assert refused.value.code == "frozen"


async def test_what_is_asked_decided_and_done_is_in_the_audit_log_with_who(world: World) -> None:
    """A client's answer is marked as such, and what is carried out is the asking session's."""
    approval = await asks(world)
    await world.services.approvals.approve(approval.id, BY_CLIENT)
    await world.quiet()
    entries = await world.inventory.audit_page(0, 500)
    told = {entry.deed.kind: entry.deed for entry in entries}
    assert BY_CLIENT in told["approval_approved"].text and approval.id in told["approval_asked"].text
    assert told["decision"].session == "alice" and told["decision"].actor.startswith("agent ")


async def test_a_human_is_told_of_a_setup_script_and_a_yes_runs_it(world: World) -> None:
    """By its hash, as everywhere; another script is another request."""
    approval = await asks(world, setup="echo HIDDEN")
    assert "setup script of 11 characters (sha256 " in words(approval)
    assert "HIDDEN" not in words(approval)
    assert (await asks(world, setup="echo OTHER")).id != approval.id
    await world.services.approvals.approve(approval.id, BY_OWNER)
    await until(lambda: world.guests.ran)
    assert world.guests.stdins[0] == b"echo HIDDEN"
