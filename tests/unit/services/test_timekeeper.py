"""Suspend, jumps and empty batteries, over the reaper: what ends when, and what waits for a second source."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aleph_agentd.adapters.machine_clock import SteadyClock
from aleph_agentd.domain.errors import Unavailable
from aleph_agentd.domain.model import Vm, VmState
from aleph_agentd.services.timekeeper import Timekeeper
from support.clock import NOON
from support.machine import FakeMachine
from support.world import World


class Watched:
    """A world whose time comes from the clocks of a machine, and the keeper of it."""

    def __init__(self, world: World, machine: FakeMachine, path: Path) -> None:
        self.world, self.machine, self.path = world, machine, path
        self.start()

    def start(self) -> None:
        """A new process on the same machine."""
        self.clock = SteadyClock(self.path, self.machine)
        services = self.world.services
        services.reaper._clock = services.teardown._clock = self.clock
        self.keeper = Timekeeper(
            self.clock,
            self.world.inventory,
            self.world.network,
            services.reaper,
            self.world.timers,
            services.jobs,
        )
        services.provisioner.gates[1:] = [self.keeper.check]

    def network_says(self, at: datetime | None) -> None:
        """The second source; None: it does not answer."""

        async def tell() -> datetime:
            return at or NOON

        self.world.network.heal("network_time")
        if at is None:
            self.world.network.fail("network_time", times=99)
        else:
            self.world.network.network_time = tell  # type: ignore[method-assign]

    async def tick(self) -> None:
        """One look at the clocks, and all that it begins."""
        await self.keeper.tick()
        await self.world.quiet()

    async def living(self) -> int:
        """How many leases run."""
        return len(await self.world.rows(VmState.RUNNING))


@pytest.fixture
async def watched(world: World, tmp_path: Path) -> AsyncIterator[Watched]:
    """At noon, without VMs; the second source does not answer."""
    found = Watched(world, FakeMachine(), tmp_path / "clock.json")
    found.network_says(None)
    yield found


async def rented(watched: Watched, count: int, hours: float = 1) -> list[Vm]:
    """Some VMs with leases of an hour."""
    return [await watched.world.create(name=f"vm-{number}", ttl_hours=hours) for number in range(count)]


async def test_after_a_suspend_the_reaper_runs_first_and_the_alarms_are_set_anew(watched: Watched) -> None:
    """Timers stood still; what ended meanwhile ends now, all of it, without asking anybody."""
    await rented(watched, 3)
    watched.machine.sleeps(hours=2)
    await watched.tick()
    assert await watched.living() == 0
    assert watched.world.network.asked("network_time") == []
    assert watched.world.timers.realigned == 1


async def test_a_tick_like_any_other_does_nothing(watched: Watched) -> None:
    """It costs a look at three clocks."""
    await rented(watched, 1)
    due = watched.world.timers.moves.copy()
    watched.machine.passes(seconds=15)
    await watched.tick()
    assert watched.world.timers.realigned == 0
    assert watched.world.timers.moves == due


async def test_a_clock_that_is_set_back_stops_no_alarm_and_no_lease_gets_longer(watched: Watched) -> None:
    """The scheduler goes by the wall clock, so its alarms are set anew."""
    await rented(watched, 2)
    watched.machine.passes(minutes=30)
    await watched.tick()
    watched.machine.is_set(hours=-5)
    await watched.tick()
    assert watched.world.timers.realigned == 1
    assert watched.clock.lead() == timedelta(hours=-5)
    watched.machine.passes(minutes=31)
    await watched.world.services.reaper.run()
    await watched.world.quiet()
    assert await watched.living() == 0


async def test_a_leap_does_not_end_many_leases_until_a_second_source_agrees(watched: Watched) -> None:
    """And says so meanwhile."""
    await rented(watched, 3)
    watched.machine.is_set(hours=2)
    await watched.tick()
    assert await watched.living() == 3
    [alert] = watched.keeper.alerts()
    assert "3 leases" in alert
    assert "2026-11-23T14:00:00Z" in alert
    watched.network_says(NOON + timedelta(hours=2))
    await watched.tick()
    assert await watched.living() == 0
    assert watched.keeper.alerts() == []
    assert [event.kind for event in await watched.world.inventory.events(0, 500)].count("clock") == 1


async def test_a_leap_that_the_network_contradicts_ends_nothing_and_the_leases_end_on_time(
    watched: Watched,
) -> None:
    """Promise 2 holds by the time that is true."""
    await rented(watched, 3)
    watched.network_says(NOON)
    watched.machine.is_set(hours=2)
    await watched.tick()
    assert (await watched.living(), watched.keeper.alerts()) == (3, [])
    watched.machine.passes(minutes=61)
    await watched.world.services.reaper.run()
    await watched.world.quiet()
    assert await watched.living() == 0


async def test_one_lease_that_is_due_by_a_leap_does_not_wait(watched: Watched) -> None:
    """One is no mass; but one by one would be."""
    await rented(watched, 1)
    await watched.world.create(name="longer", ttl_hours=4)
    watched.machine.is_set(hours=2)
    await watched.tick()
    assert [vm.name for vm in await watched.world.rows(VmState.RUNNING)] == ["longer"]
    watched.machine.is_set(hours=4)
    await watched.tick()
    assert await watched.living() == 1
    assert watched.keeper.held == 1


async def test_a_leap_that_nobody_can_judge_holds_leases_for_an_hour_at_most(watched: Watched) -> None:
    """Then the wall clock is believed."""
    await rented(watched, 2, hours=3)
    watched.machine.is_set(hours=5)
    await watched.tick()
    watched.machine.passes(minutes=59)
    await watched.tick()
    assert await watched.living() == 2
    watched.machine.passes(minutes=2)
    await watched.tick()
    assert await watched.living() == 0


async def test_while_the_clock_is_in_doubt_nothing_is_created(watched: Watched) -> None:
    """A lease could not be measured; a moment later it can."""
    watched.machine.is_set(hours=2)
    with pytest.raises(Unavailable, match="leapt") as refused:
        await watched.world.create()
    assert refused.value.code == "clock_in_doubt"
    assert watched.world.network.posted == []
    watched.network_says(NOON)
    await watched.tick()
    assert (await watched.world.create()).state is VmState.RUNNING


async def test_a_start_with_a_clock_in_1970_ends_what_is_due_once_the_network_tells_the_time(
    watched: Watched,
) -> None:
    """No lease gets fifty years more, and none ends because nobody knew the time."""
    await rented(watched, 2)
    await watched.clock.save()
    watched.machine.boots(datetime(1970, 1, 1, 0, 0, 30, tzinfo=UTC))
    watched.start()
    await watched.world.services.reaper.recover()
    await watched.tick()
    assert await watched.living() == 2
    assert "fell behind" in watched.keeper.alerts()[0]
    watched.network_says(NOON + timedelta(days=2))
    await watched.tick()
    assert await watched.living() == 0


async def test_the_time_survives_a_restart_within_one_boot(watched: Watched) -> None:
    """However the wall clock was set meanwhile, and whatever a broken file says."""
    watched.machine.passes(hours=1)
    await watched.clock.save()
    watched.machine.passes(hours=1)
    watched.machine.is_set(hours=-10)
    watched.start()
    assert watched.clock.now() == NOON + timedelta(hours=2)
    for broken in ("", "[]", '{"at": "soon"}', '{"at": "2026-01-01", "boot": 1, "up_s": NaN}'):
        watched.path.write_text(broken)
        watched.start()
        assert watched.clock.now() == watched.machine().wall


async def test_the_time_is_written_at_most_once_a_minute_and_when_stopping(watched: Watched) -> None:
    """A disk is no clock."""
    await watched.clock.save()
    first = watched.path.read_bytes()
    watched.machine.passes(seconds=59)
    await watched.clock.save()
    assert watched.path.read_bytes() == first
    await watched.clock.save(stopping=True)
    assert watched.path.read_bytes() != first
    second = watched.path.read_bytes()
    watched.machine.passes(seconds=60)
    await watched.clock.save()
    assert watched.path.read_bytes() != second


async def test_a_time_that_cannot_be_written_stops_nothing(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """The next start merely knows less."""
    watched.path.mkdir()
    await watched.clock.save()
    assert "could not be kept" in caplog.text


def test_summer_time_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is UTC: the same instants in a zone that is about to change, and in one that never does."""
    import time

    from aleph_agentd.adapters.machine_clock import read_machine

    offsets = []
    for zone in ("UTC", "Europe/Berlin", "Pacific/Chatham"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        reading = read_machine()
        assert reading.wall.utcoffset() == timedelta(0)
        offsets.append(reading.wall.timestamp() - reading.up_s)
    monkeypatch.undo()
    time.tzset()
    assert max(offsets) - min(offsets) < 600
