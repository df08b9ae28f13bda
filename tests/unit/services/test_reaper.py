"""Ending what is due, on time and in order."""

import asyncio
from datetime import timedelta
from typing import Any

from aleph_agentd.domain.model import VmState
from aleph_agentd.services.reaper import Reaper
from support.clock import NOON
from support.world import ALICE, World, until

HOUR = timedelta(hours=1)


async def test_a_lease_is_reaped_at_its_end_and_not_before(world: World) -> None:
    """Promise 2."""
    vm = await world.create(ttl_hours=1)
    world.clock.forward(seconds=3599.999)
    await world.services.reaper.run()
    assert (await world.row(vm)).state is VmState.RUNNING
    world.clock.forward(seconds=0.001)
    await world.services.reaper.run()
    row = await world.row(vm)
    assert (row.state, row.cause) == (VmState.DESTROYING, "its lease ended") or row.state is VmState.GONE
    await world.quiet()
    assert (await world.row(vm)).state is VmState.GONE


async def test_the_dearest_due_lease_is_ended_first(machine: Any) -> None:
    """Each second of it costs most."""
    async with machine.life(balance_guard_percent=100) as world:
        for name, units in (("small", 1), ("large", 8), ("middle", 4)):
            await world.create(name=name, compute_units=units, ttl_hours=1)
        started: list[str] = []
        start = world.services.teardown.start

        def watch(vm: Any) -> Any:
            started.append(vm.name)
            return start(vm)

        world.services.teardown.start = watch  # type: ignore[method-assign]
        world.clock.forward(hours=2)
        await world.services.reaper.run()
        assert started == ["large", "middle", "small"]


async def test_an_extension_that_came_first_saves_the_vm(world: World) -> None:
    """rules.md 6: read and changed in one transaction, there is no in between; the loser is told."""
    vm = await world.create(ttl_hours=1)
    reap = world.inventory.reap
    world.clock.forward(seconds=3599)

    async def extended_just_before(*arguments: Any) -> Any:
        if (await world.row(vm)).lease_version == 1:
            world.clock.forward(seconds=-1)
            await world.services.extender.extend(vm, 1, ALICE)
            world.clock.forward(seconds=1)
        return await reap(*arguments)

    world.inventory.reap = extended_just_before  # type: ignore[method-assign]
    world.clock.forward(seconds=1)
    await world.services.reaper.run()
    row = await world.row(vm)
    assert (row.state, row.expires_at) == (VmState.RUNNING, NOON + 2 * HOUR)
    assert world.network.billed() == [vm.item_hash]


async def test_the_alarm_stands_at_the_next_deadline_and_moves_with_the_leases(world: World) -> None:
    """Shorter, longer, none."""
    alarm = lambda: world.timers.when("next deadline")  # noqa: E731
    await world.services.reaper.arm()
    assert alarm() is None
    long = await world.create(name="long", ttl_hours=3)
    await world.services.reaper.arm()
    assert alarm() == NOON + 3 * HOUR
    short = await world.create(name="short", ttl_hours=1)
    await world.services.reaper.arm()
    assert alarm() == NOON + HOUR
    await world.services.extender.extend(short, 4, ALICE)
    await world.services.reaper.arm()
    assert alarm() == NOON + 3 * HOUR
    await world.end(long)
    await world.services.reaper.arm()
    assert alarm() == world.clock.now() + timedelta(minutes=5), "the lookup after its end"


async def test_every_committed_change_moves_the_alarm_once(world: World) -> None:
    """Many changes at once arm it once."""
    world.inventory.on_change = world.services.reaper.changed
    await world.create(ttl_hours=1)
    await until(lambda: world.timers.when("next deadline") == NOON + HOUR)
    world.timers.moves.clear()
    for _ in range(50):
        world.services.reaper.changed()
    await until(lambda: world.timers.moves)
    assert len(world.timers.moves) == 1


async def test_overdue_rows_do_not_make_the_alarm_spin(world: World) -> None:
    """What is due and being worked on is looked at again in a second, not at once."""
    vm = await world.create(ttl_hours=1)
    world.clock.forward(hours=2)
    hold = world.network.hold("post")
    await world.services.reaper.run()
    await hold.arrival()
    await world.services.reaper.arm()
    at = world.timers.when("next deadline")
    assert at is not None
    assert at >= world.clock.now() + timedelta(seconds=1)
    hold.go.set()
    await world.quiet()
    assert (await world.row(vm)).state is VmState.GONE


async def test_changes_neither_postpone_the_alarm_nor_hide_the_next_end_behind_what_is_overdue(
    world: World,
) -> None:
    """While many VMs are torn down some row is always overdue, and there is a change every few milliseconds."""
    first, second = await world.create(name="first", ttl_hours=1), await world.create(ttl_hours=2)
    world.clock.forward(seconds=7199.5)
    hold = world.network.hold("post")
    await world.services.reaper.run()
    await hold.arrival()
    looked_at = world.clock.now()
    await world.inventory.note(first.item_hash, next_attempt_at=NOON)
    for _ in range(3):
        world.clock.forward(seconds=0.1)
        await world.services.reaper.arm()
        assert world.timers.when("next deadline") == second.expires_at
    await world.services.extender.extend(second, 1, ALICE)
    for _ in range(3):
        world.clock.forward(seconds=0.2)
        await world.services.reaper.arm()
        assert world.timers.when("next deadline") == looked_at + timedelta(seconds=1)
    hold.go.set()
    await world.quiet()


async def test_a_lease_that_ended_during_a_pass_is_looked_at_at_once(world: World) -> None:
    """It is not among what the pass has seen."""
    vm = await world.create(ttl_hours=1)
    due = world.inventory.due

    async def slowly(*arguments: Any) -> Any:
        world.clock.forward(hours=1)
        return await due(*arguments)

    world.inventory.due = slowly  # type: ignore[method-assign]
    await world.services.reaper.run()
    assert world.timers.when("next deadline") == vm.expires_at <= world.clock.now()


async def test_a_row_that_is_being_worked_on_is_not_worked_on_twice(world: World) -> None:
    """Passes join: one FORGET, one erase."""
    await world.create(ttl_hours=1)
    world.clock.forward(hours=2)
    hold = world.network.hold("post")
    await world.services.reaper.run()
    await hold.arrival()
    world.clock.forward(minutes=10)
    await asyncio.gather(*(world.services.reaper.run() for _ in range(5)))
    hold.go.set()
    await world.quiet()
    assert len(world.network.of_kind("FORGET")) == len(world.network.asked("erase")) == 1


async def test_many_due_leases_are_ordered_by_few_transactions(machine: Any) -> None:
    """A thousand leases that end together must not wait for a thousand commits."""
    async with machine.life(max_concurrent_vms=9, balance_guard_percent=100) as world:
        vms = [await world.create(name=f"vm-{n}", ttl_hours=1) for n in range(8)]
        world.clock.forward(hours=1)
        holds = [world.network.hold("post") for _ in vms]
        before = world.inventory.version
        await world.services.reaper.run()
        assert {(await world.row(vm)).state for vm in vms} == {VmState.DESTROYING}
        assert world.inventory.version == before + 2, "the order, and the look that finds no more"
        for hold in holds:
            hold.go.set()
        await world.quiet()


async def test_a_lost_alarm_costs_nothing(world: World) -> None:
    """The interval job runs the same pass: the table is the truth."""
    vm = await world.create(ttl_hours=1)
    world.timers.alarms.clear()
    world.clock.forward(hours=1, seconds=15)
    await world.services.reaper.run()
    await world.quiet()
    assert (await world.row(vm)).state is VmState.GONE


async def test_due_leases_go_before_old_teardowns_after_a_start(world: World) -> None:
    """What just ended must not wait behind what has been stuck for days."""
    stuck, due = await world.create(name="stuck"), await world.create(name="due", ttl_hours=1)
    await world.services.teardown.order(stuck.item_hash, "before")
    await world.inventory.note(stuck.item_hash, next_attempt_at=world.clock.now() + 24 * HOUR)
    world.clock.forward(hours=1)
    started: list[str] = []
    start = world.services.teardown.start

    def watch(vm: Any) -> Any:
        started.append(vm.name)
        return start(vm)

    world.services.teardown.start = watch  # type: ignore[method-assign]
    await world.services.reaper.recover()
    await world.quiet()
    assert started[0] == "due"
    assert "stuck" in started
    assert due.item_hash not in world.network.billed()


async def test_a_vm_with_a_dead_host_does_not_hold_up_the_others(world: World) -> None:
    """Its own pass waits; the rest ends."""
    dead, fine = await world.create(name="dead", ttl_hours=1), await world.create(name="fine", ttl_hours=1)
    hold = world.network.hold("post")
    world.clock.forward(hours=1)
    await world.services.reaper.run()
    await hold.arrival()
    held = world.network.asked("post")[-1]
    await until(lambda: len(world.network.billed()) == 1)
    hold.go.set()
    await world.quiet()
    assert held
    assert {(await world.row(vm)).state for vm in (dead, fine)} == {VmState.GONE}


async def test_a_lost_database_read_does_not_end_the_reaper(world: World) -> None:
    """The next pass reads again."""
    vm = await world.create(ttl_hours=1)
    world.clock.forward(hours=1)
    reaper = Reaper(world.inventory, world.services.teardown, world.timers, world.clock)
    await reaper.run()
    await world.quiet()
    assert (await world.row(vm)).state is VmState.GONE
