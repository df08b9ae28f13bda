"""Creates stop where they keep failing, start again by themselves, and nothing else is held up."""

import pytest

from aleph_agentd.domain.breaker import PAUSE
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.model import VmState
from support.world import ALICE, World, a_request


async def refused(world: World, **request: object) -> Refusal:
    """The refusal of a create, once all that it began is over."""
    with pytest.raises(Refusal) as refusal:
        await world.create(**request)
    await world.quiet()
    return refusal.value


async def break_first(world: World) -> str:
    """Three failures on the best CRN, which is well again afterwards."""
    first = world.network.crn_list[0]
    world.network.crn_does[first.hash] = "refuses"
    for number in range(3):
        assert (await refused(world, name=f"try-{number}", crn=first.name)).code == "create_failed"
    del world.network.crn_does[first.hash]
    return first.hash


async def break_all(world: World) -> None:
    """Two creates that every CRN refuses: six failures on three CRNs."""
    for crn in world.network.crn_list:
        world.network.crn_does[crn.hash] = "refuses"
    for number in range(2):
        assert (await refused(world, name=f"try-{number}")).code == "create_failed"
    world.network.crn_does.clear()


async def test_a_crn_that_failed_three_times_is_avoided_until_its_pause_is_over(world: World) -> None:
    """The next best one is taken instead; later it gets a trial."""
    first = await break_first(world)
    assert (await world.create(name="second")).crn_hash == world.network.crn_list[1].hash
    world.clock.forward(seconds=PAUSE.total_seconds())
    assert (await world.create(name="third")).crn_hash == first
    assert (await world.create(name="fourth")).crn_hash == first


async def test_a_named_crn_that_is_avoided_is_refused_with_what_was_seen_and_when_to_try_again(
    world: World,
) -> None:
    """It is not silently replaced."""
    await break_first(world)
    refusal = await refused(world, crn="crn-1")
    assert refusal.code == "breaker_open"
    assert "3 failed in a row" in refusal.message
    assert "cannot host" in refusal.message
    assert refusal.data["retry_at"] == "2026-11-23T12:10:00Z"
    assert "leave crn_hash out" in refusal.hint


async def test_while_a_trial_runs_nobody_else_tries_that_crn(world: World) -> None:
    """One create finds out for all."""
    first = await break_first(world)
    world.clock.forward(seconds=PAUSE.total_seconds())
    hold = world.network.hold("notify")
    trial = await world.order(name="trial")
    await hold.arrival()
    assert (await world.create(name="other")).crn_hash != first
    hold.go.set()
    assert (await world.services.provisioner.wait(trial.create_id, 10)).crn_hash == first


async def test_when_creates_fail_everywhere_they_are_refused_and_a_dry_run_says_so(world: World) -> None:
    """With a code, what was seen and when to try again; nothing is signed for it."""
    await break_all(world)
    posted = len(world.network.posted)
    plan = await world.plan(name="late")
    [objection] = await world.services.planner.objections(plan, ALICE)
    assert "breaker_open" in objection
    refusal = await refused(world, name="late")
    assert refusal.code == "breaker_open"
    assert "6 failed in a row" in refusal.message
    assert "12:10 UTC" in refusal.hint
    assert len(world.network.posted) == posted


async def test_after_the_pause_creates_work_again(world: World) -> None:
    """By themselves."""
    await break_all(world)
    world.clock.forward(seconds=PAUSE.total_seconds())
    assert (await world.create(name="late")).state is VmState.RUNNING
    assert (await world.create(name="later")).state is VmState.RUNNING


async def test_an_open_breaker_holds_up_no_teardown(world: World) -> None:
    """rules.md 5: breakers gate creates only."""
    vm = await world.create()
    await break_all(world)
    world.clock.forward(seconds=1)
    assert (await world.end(vm)).state is VmState.GONE


async def test_when_every_crn_that_fits_is_avoided_the_refusal_is_about_that(world: World) -> None:
    """Not that none could host it."""
    await break_first(world)
    world.network.crn_list = world.network.crn_list[:1]
    with pytest.raises(Refusal, match="crn-1 are paused"):
        await world.services.planner.plan(a_request(), ALICE, confirmed=False)


async def test_a_vm_that_never_boots_is_torn_down_and_tried_on_the_next_crn(world: World) -> None:
    """The CRN took it and never gave it an address: it is forgotten and erased there before the next try."""
    first, second = world.network.crn_list[:2]

    async def only_the_second_boots(_: str) -> None:
        world.network.boots_slowly = len(world.network.asked("notify")) < 2

    world.network.before("notify", only_the_second_boots)
    world.tick_at("notify")
    order = await world.order()
    vm = await world.services.provisioner.wait(order.create_id, 30)
    await world.quiet()
    assert (vm.state, vm.crn_hash) == (VmState.RUNNING, second.hash)
    assert world.network.billed() == world.network.running() == [vm.item_hash]
    assert order.tried == [f"{first.name}: its CRN never gave it an address"]
    before = (await world.inventory.attempts_of(order.create_id))[0]
    assert before.state is VmState.GONE
    assert (await world.money(before))[0] == 0, "its reservation is released"
