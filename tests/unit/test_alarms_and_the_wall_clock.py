"""Alarms when the wall clock, by which the scheduler goes, is not the time."""

import asyncio
from datetime import UTC, datetime, timedelta

from aleph_agentd.adapters.timers import SchedulerTimers

HOUR = timedelta(hours=1)


class Lead:
    """How far the wall clock is ahead."""

    def __init__(self, **delta: float) -> None:
        self.by = timedelta(**delta)

    def __call__(self) -> timedelta:
        """Now."""
        return self.by


class Bell:
    """What an alarm rings."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()

    async def ring(self) -> None:
        """Note it."""
        self.rung.set()


async def test_an_alarm_is_on_time_by_the_time_and_not_by_the_wall_clock() -> None:
    """The wall clock is an hour behind: in an hour of its own would be two too late."""
    timers, bell = SchedulerTimers(Lead(hours=-1)), Bell()
    timers.start()
    timers.at("end", datetime.now(UTC) + HOUR, bell.ring)
    async with asyncio.timeout(10):
        await bell.rung.wait()
    timers.stop()


async def test_a_wall_clock_ahead_makes_no_alarm_early() -> None:
    """It would ring again and again until the time has come."""
    timers, early, fine = SchedulerTimers(Lead(hours=1)), Bell(), Bell()
    timers.start()
    timers.at("early", datetime.now(UTC) + HOUR / 2, early.ring)
    timers.at("fine", datetime.now(UTC) - HOUR, fine.ring)
    async with asyncio.timeout(10):
        await fine.rung.wait()
    assert not early.rung.is_set()
    timers.stop()


async def test_alarms_that_are_set_anew_follow_a_wall_clock_that_was_set() -> None:
    """Those that rang before do not ring again."""
    lead = Lead()
    timers, bell, done = SchedulerTimers(lead), Bell(), Bell()
    timers.start()
    timers.at("done", datetime.now(UTC), done.ring)
    timers.at("end", datetime.now(UTC) + HOUR, bell.ring)
    async with asyncio.timeout(10):
        await done.rung.wait()
    done.rung.clear()
    lead.by = -HOUR
    timers.realign()
    async with asyncio.timeout(10):
        await bell.rung.wait()
    assert not done.rung.is_set()
    timers.stop()


async def test_interval_jobs_go_on_after_they_are_set_anew() -> None:
    """Their next time had been a wall-clock time, too."""
    timers, bell = SchedulerTimers(), Bell()
    timers.start()
    timers.every("tick", 1, bell.ring)
    timers.realign()
    async with asyncio.timeout(10):
        await bell.rung.wait()
    timers.stop()
