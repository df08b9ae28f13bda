"""The button: everything under our key ends, known or not, and done means that the network says so."""

import pytest

from aleph_agentd.domain.errors import Denied
from aleph_agentd.domain.model import Stamp, VmState
from aleph_agentd.ports import MessageStatus
from aleph_agentd.services import panic
from support.clock import NOON
from support.inventory import a_hash
from support.world import Machine, World, until


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks."""
    monkeypatch.setattr(panic, "_PAUSE_S", 0.001)


async def test_it_ends_what_we_know_and_what_only_the_network_knows(world: World) -> None:
    """Rows, orphans, and what another installation stamped."""
    for n in range(3):
        await world.create(name=f"vm-{n}", ttl_hours=1)
    world.network.stranger(a_hash("orphan"), crn=world.network.crn_list[0].hash)
    world.network.stranger(a_hash("other"), stamp=Stamp("elsewhere", "l" * 32, NOON))
    await world.services.panic.begin("the owner")
    await until(lambda: (p := world.services.panic.progress) and p.done)
    assert world.network.billed() == []
    await world.quiet()
    assert len(await world.rows(VmState.GONE)) == 5 or world.network.running() == []
    with pytest.raises(Denied):
        await world.create(name="more")


async def test_a_network_that_is_away_is_never_taken_for_done(world: World) -> None:
    """And what it says while it fails now and then is tried again."""
    vm = await world.create()
    world.network.fail("status", times=20)
    world.network.fail("instances", times=5)
    seen = []

    async def watch(_: str) -> None:
        seen.append(world.services.panic.progress)

    world.network.before("instances", watch)
    await world.services.panic.begin("the owner")
    await until(lambda: (p := world.services.panic.progress) and p.done)
    assert any(progress and progress.listed is None for progress in seen)
    assert vm.item_hash not in world.network.billed()


async def test_a_dead_crn_does_not_keep_it_from_being_done(world: World) -> None:
    """Billing has ended; the erase goes on."""
    vm = await world.create()
    world.network.crn_does[vm.crn_hash] = "silent"
    await world.services.panic.begin("the owner")
    await until(lambda: (p := world.services.panic.progress) and p.done)
    progress = world.services.panic.progress
    assert progress is not None
    assert (progress.billing, progress.listed) == (0, 0)
    assert (await world.row(vm)).state is VmState.DESTROYING


async def test_it_is_carried_on_after_a_restart(machine: Machine) -> None:
    """Killed in the middle: the freeze of its own kind is the intent."""
    async with machine.life() as world:
        vm = await world.create()
        hold = world.network.hold("post")
        await world.services.panic.begin("the owner")
        await hold.arrival()
    assert machine.network.billed() == [vm.item_hash]
    async with machine.life() as world:
        world.services.panic.resume()
        await until(lambda: (p := world.services.panic.progress) and p.done)
        assert machine.network.billed() == []


async def test_a_create_under_way_is_ended_too(world: World) -> None:
    """Whatever it has sent."""
    hold = world.network.hold("notify")
    order = await world.order()
    await hold.arrival()
    await world.services.panic.begin("the owner")
    hold.go.set()
    await until(lambda: (p := world.services.panic.progress) and p.done)
    await world.quiet()
    [vm] = await world.inventory.attempts_of(order.create_id)
    assert vm.state is VmState.GONE
    assert world.network.running() == world.network.billed() == []


async def test_a_tombstone_that_lives_again_is_buried_again(world: World) -> None:
    """The listing shows it; only the status decides."""
    vm = await world.create()
    await world.end(vm)
    world.network.statuses[vm.item_hash] = MessageStatus.PROCESSED
    assert world.network.billed() == [vm.item_hash]
    await world.services.panic.begin("the owner")
    await until(lambda: (p := world.services.panic.progress) and p.done)
    assert world.network.billed() == []


async def test_a_tombstone_that_somebody_else_buries_first_does_not_stop_it(world: World) -> None:
    """A sweep, or the look at its end, acts between the question and the answer."""
    vm, other = await world.create(name="undead"), await world.create(name="other")
    await world.end(vm)
    row = await world.row(vm)
    world.network.statuses[vm.item_hash] = MessageStatus.PROCESSED

    async def faster(item_hash: str) -> None:
        if item_hash == vm.item_hash and (await world.row(vm)).state is VmState.GONE:
            await world.services.teardown.revive(row, "a sweep was faster")

    world.network.before("status", faster)
    await world.services.panic.begin("the owner")
    await until(lambda: (p := world.services.panic.progress) and p.done)
    assert world.network.billed() == []
    assert (await world.row(other)).cause == panic.CAUSE


async def test_a_lifted_panic_ends_nothing_more(world: World) -> None:
    """The owner changed his mind."""
    world.network.fail("instances", times=1000)
    await world.services.panic.begin("the owner")
    await until(lambda: world.services.panic.progress is not None)
    await world.services.freezes.lift("the owner")
    await world.quiet()
    assert not world.services.freezes.panics()
