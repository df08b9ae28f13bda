"""What is about to happen, told before it does."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aleph_agentd.adapters.store import vms
from aleph_agentd.domain.model import VmState
from aleph_agentd.services import lookout
from support.world import ALICE, BOB, Machine, World


async def told(world: World, kind: str) -> list[str]:
    """The texts of the events of a kind."""
    return [event.text for event in await world.inventory.events(0, 900) if event.kind == kind]


async def test_the_end_of_a_lease_is_told_fifteen_minutes_before_and_again_after_an_extension(
    world: World,
) -> None:
    """Once per end, however often it is looked at."""
    vm = await world.create(ttl_hours=1.0)
    lookout = world.services.lookout
    world.clock.forward(minutes=44)
    await lookout.run()
    assert await told(world, "ends_soon") == []
    world.clock.forward(minutes=2)
    await lookout.run()
    await lookout.run()
    assert len(await told(world, "ends_soon")) == 1
    row = await world.row(vm)
    until = row.expires_at + timedelta(hours=1)
    await world.inventory.extend(vm.item_hash, until, 1, lambda _: None, world.clock.now(), "alice")
    await lookout.run()
    assert len(await told(world, "ends_soon")) == 1
    world.clock.forward(hours=1)
    await lookout.run()
    assert len(await told(world, "ends_soon")) == 2


async def test_a_short_lease_is_told_in_its_last_quarter(world: World) -> None:
    """Not when it begins."""
    await world.create(ttl_hours=0.2)
    await world.services.lookout.run()
    assert await told(world, "ends_soon") == []
    world.clock.forward(minutes=10)
    await world.services.lookout.run()
    assert len(await told(world, "ends_soon")) == 1


async def test_a_restart_tells_no_end_again(machine: Machine) -> None:
    """What was written is read."""
    for _ in range(2):
        async with machine.life() as world:
            if not await world.rows():
                await world.create(ttl_hours=1.0)
                world.clock.forward(minutes=50)
            await world.services.lookout.run()
            assert len(await told(world, "ends_soon")) == 1


async def test_an_agent_hears_once_per_end_and_only_of_its_own(world: World) -> None:
    """And of an end that was moved meanwhile not at all."""
    vm = await world.create(ALICE, ttl_hours=1.0)
    lookout = world.services.lookout
    world.clock.forward(minutes=50)
    await lookout.run()
    assert await lookout.ends_soon(BOB) == []
    assert [row.item_hash for row in await lookout.ends_soon(ALICE)] == [vm.item_hash]
    assert await lookout.ends_soon(ALICE) == []
    row = await world.row(vm)
    until = row.expires_at + timedelta(hours=1)
    await world.inventory.extend(vm.item_hash, until, 1, lambda _: None, world.clock.now(), "alice")
    assert await lookout.ends_soon(ALICE) == []
    world.clock.forward(hours=1)
    await lookout.run()
    assert len(await lookout.ends_soon(ALICE)) == 1


async def test_four_fifths_of_the_budget_are_told_when_they_are_crossed(machine: Machine) -> None:
    """Not while they stay crossed, and not by a start above them."""
    async with machine.life(max_daily_spend_units=80_000) as world:
        await world.services.lookout.run()
        await world.create(ttl_hours=4.0)
        await world.services.lookout.run()
        await world.services.lookout.run()
        [text] = await told(world, "budget")
        assert "8.00 credits" in text
    async with machine.life() as world:
        await world.services.lookout.run()
        assert len(await told(world, "budget")) == 1


async def test_a_vm_that_is_stuck_is_told_once(world: World) -> None:
    """It stays in every listing besides."""
    vm = await world.create()
    world.network.fail("post", 100)
    await world.end(vm, 7)
    await world.services.lookout.run()
    await world.services.lookout.run()
    [text] = await told(world, "stuck")
    assert text.startswith("box: teardown fails since")


async def test_it_remembers_only_what_is_still_so(world: World) -> None:
    """Else an agent that extends again and again would fill the memory."""
    vm = await world.create(ttl_hours=0.2)
    world.clock.forward(minutes=10)
    lookout = world.services.lookout
    await lookout.run()
    assert len(lookout._written) == 1
    await world.end(vm)
    await lookout.run()
    assert lookout._written == set()


async def test_the_leases_that_end_first_are_told_of_however_much_else_is_due(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither many teardowns nor many dearer leases that end later hide one that ends soon."""
    monkeypatch.setattr(lookout, "_LEASES", 3)
    vm = await world.create(ttl_hours=1.0)
    world.clock.forward(minutes=50)
    now = world.clock.now()
    for number in range(1, 41):
        ends, row = (
            vm.expires_at,
            replace(vm, item_hash=f"{number:064x}", name=f"x-{number}", rate=vm.rate * 9),
        )
        if number <= 30:
            row = replace(row, state=VmState.DESTROYING, destroy_at=now, next_attempt_at=now)
        elif number <= 38:
            row = replace(row, expires_at=ends + timedelta(minutes=3))
        else:
            row = replace(row, expires_at=ends + timedelta(minutes=1))
        await world.inventory._transact(lambda c, row=row: vms.add(c, row))
    await world.services.lookout.run()
    assert sorted(text.split(":")[0] for text in await told(world, "ends_soon")) == ["box", "x-39", "x-40"]
