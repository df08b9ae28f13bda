"""How long the balance lasts: told at 24 and at 6 hours; and who goes first when the owner wants that."""

import pytest

from aleph_agentd.domain.model import VmState
from aleph_agentd.services.runway import runway_s
from support.world import Machine, World

HOURLY = 14_250


def _lasts(world: World, hours: float, vms: int = 1) -> None:
    """Set the balance so that it lasts this long."""
    world.network.credits[world.network.address] = int(hours * HOURLY * vms)


async def _told(world: World) -> list[str]:
    return [event.kind for event in await world.inventory.events(0, 900) if "balance" in event.kind]


async def _live(world: World) -> list[str]:
    return sorted(vm.name for vm in await world.rows(VmState.RUNNING))


async def _rent(world: World, *hours: float) -> None:
    for n, ttl in enumerate(hours):
        await world.create(name=f"vm{n}", ttl_hours=ttl)


async def test_each_level_is_told_once_when_it_is_crossed(world: World) -> None:
    """And again after the balance was raised in between."""
    await world.create()
    for hours in (30, 23, 22, 5, 4, 3, 30, 23):
        _lasts(world, hours)
        await world.services.runway.run()
    assert await _told(world) == ["low_balance"] * 3
    assert world.services.runway.words() == "runway 23 h 0 min"
    [alert] = world.services.runway.alerts()
    assert "https://credits.app.aleph.im" in alert


@pytest.mark.parametrize(("balance", "burn", "seconds"), [(7200, 3600, 7200), (5, 0, None), (-5, 1, 0)])
def test_a_runway_is_the_balance_over_the_burn(balance: int, burn: int, seconds: int | None) -> None:
    """Without a burn there is none, and a debt lasts no time."""
    assert runway_s(balance, burn) == seconds


async def test_vms_of_others_at_the_payer_s_expense_shorten_it(world: World) -> None:
    """The network's word on all of the payer's VMs counts when it is known."""
    await world.create()
    world.network.stranger("ab" * 32)
    _lasts(world, 10)
    await world.services.runway.run()
    assert world.services.runway.left_s == 5 * 3600


async def test_nothing_ends_by_itself_unless_the_owner_wants_it(world: World) -> None:
    """It is off by default."""
    await _rent(world, 4, 2)
    _lasts(world, 0.01, 2)
    for _ in range(5):
        await world.services.runway.run()
    assert await _live(world) == ["vm0", "vm1"]


async def test_the_vm_with_the_nearest_end_goes_first_and_one_at_a_time(machine: Machine) -> None:
    """After two looks that agree; and the next one only when that one's billing has ended."""
    async with machine.life(teardown_below_runway_minutes=60, max_concurrent_vms=10) as world:
        await _rent(world, 4, 2, 3, 5)
        runway = world.services.runway
        _lasts(world, 0.5, 4)
        await runway.run()
        assert len(await _live(world)) == 4
        world.network.fail("post", 50)
        await runway.run()
        assert await _live(world) == ["vm0", "vm2", "vm3"]
        await world.quiet()
        await runway.run()
        assert len(await _live(world)) == 3
        world.network.heal()
        [ending] = await world.rows(VmState.DESTROYING)
        await world.passes(ending, 3)
        _lasts(world, 0.5, 3)
        await runway.run()
        assert await _live(world) == ["vm0", "vm3"]
        assert (await _told(world)).count("ended_for_balance") == 2


async def test_not_more_than_half_of_them_end_before_the_owner_is_asked(machine: Machine) -> None:
    """A balance that is told wrongly must not cost everything; when it is raised, all begins anew."""
    async with machine.life(teardown_below_runway_minutes=60, max_concurrent_vms=10) as world:
        await _rent(world, 1, 2, 3, 4)
        runway = world.services.runway
        _lasts(world, 0.5)
        for _ in range(12):
            await runway.run()
            await world.quiet()
        assert await _live(world) == ["vm2", "vm3"]
        assert "2 VMs were ended" in runway.alerts()[0]
        assert runway.figures()["halted"]
        _lasts(world, 100, 4)
        await runway.run()
        assert not runway.figures()["halted"]


async def test_an_unknown_balance_ends_nothing(machine: Machine) -> None:
    """And two looks that agree begin anew after it."""
    async with machine.life(teardown_below_runway_minutes=60) as world:
        await _rent(world, 4, 2)
        _lasts(world, 0.5, 2)
        runway = world.services.runway
        for _ in range(3):
            await runway.run()
            world.network.fail("balance")
            await runway.run()
            assert runway.left_s is None
        assert await _live(world) == ["vm0", "vm1"]
        assert runway.alerts() == []


async def test_a_restart_is_no_new_spell(machine: Machine) -> None:
    """The daemon dies as often as it likes: half of them stay, until the balance was raised in between."""
    for life in range(4):
        async with machine.life(teardown_below_runway_minutes=60, max_concurrent_vms=10) as world:
            if not life:
                await _rent(world, 1, 2, 3, 4)
            _lasts(world, 0.5)
            for _ in range(5):
                await world.services.runway.run()
                await world.quiet()
            assert await _live(world) == ["vm2", "vm3"]
            assert world.services.runway.figures()["halted"]
    async with machine.life(teardown_below_runway_minutes=60, max_concurrent_vms=10) as world:
        for hours in (100, 0.5, 0.5):
            _lasts(world, hours, 2)
            await world.services.runway.run()
        await world.quiet()
        assert await _live(world) == ["vm3"]


async def test_a_teardown_that_was_told_and_not_ordered_is_ordered_after_a_restart(machine: Machine) -> None:
    """Killed between the two: it counts as the one that was ended, so it is ended, and no other."""
    async with machine.life(teardown_below_runway_minutes=60, max_concurrent_vms=10) as world:
        await _rent(world, 1, 2)
        (first,) = [vm for vm in await world.rows(VmState.RUNNING) if vm.name == "vm0"]
        await world.inventory.record("ended_for_balance", first.item_hash, "", world.clock.now())
    async with machine.life(teardown_below_runway_minutes=60, max_concurrent_vms=10) as world:
        _lasts(world, 0.5)
        for _ in range(5):
            await world.services.runway.run()
            await world.quiet()
        assert await _live(world) == ["vm1"]
        assert (await _told(world)).count("ended_for_balance") == 1
