"""Alarms by the real scheduler: late, moved, lost and failing."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from aleph_agentd.adapters.timers import SchedulerTimers
from aleph_agentd.domain.acting import BY_ITSELF, Act, acting, on_behalf_of


@pytest.fixture
async def timers() -> AsyncIterator[SchedulerTimers]:
    """A running scheduler."""
    timers = SchedulerTimers()
    timers.start()
    yield timers
    timers.stop()


def _in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


class Bell:
    """Counts how often it rings."""

    def __init__(self) -> None:
        self.rung = 0
        self._event = asyncio.Event()

    async def ring(self) -> None:
        """What the alarm runs."""
        self.rung += 1
        self._event.set()

    async def heard(self) -> None:
        """Until it rings next."""
        async with asyncio.timeout(10):
            await self._event.wait()
        self._event.clear()


@pytest.mark.parametrize("late_s", [1.5, 3600, 10 * 86_400])
async def test_an_alarm_in_the_past_rings_at_once_however_late(
    timers: SchedulerTimers, late_s: float
) -> None:
    """APScheduler's default drops a job that is a second late."""
    bell = Bell()
    timers.at("a", _in(-late_s), bell.ring)
    await bell.heard()
    assert bell.rung == 1


async def test_an_alarm_that_is_moved_rings_at_its_new_time_only(timers: SchedulerTimers) -> None:
    """Earlier or later; by its name."""
    bell, other = Bell(), Bell()
    timers.at("a", _in(3600), bell.ring)
    timers.at("a", _in(-1), bell.ring)
    await bell.heard()
    timers.at("b", _in(0.05), other.ring)
    timers.at("b", _in(3600), other.ring)
    timers.at("c", _in(0.3), bell.ring)
    await bell.heard()
    assert other.rung == 0


async def test_an_alarm_can_be_removed_also_when_there_is_none(timers: SchedulerTimers) -> None:
    """None removes it; twice is fine."""
    bell, end = Bell(), Bell()
    timers.at("a", _in(0.05), bell.ring)
    timers.at("a", None, bell.ring)
    timers.at("a", None, bell.ring)
    timers.at("end", _in(0.3), end.ring)
    await end.heard()
    assert bell.rung == 0


async def test_the_same_instant_can_be_set_again_after_it_rang(timers: SchedulerTimers) -> None:
    """An overdue row must not lose its alarm because its instant was used before."""
    bell, when = Bell(), _in(-1)
    for _ in range(3):
        timers.at("a", when, bell.ring)
        await bell.heard()
    assert bell.rung == 3


async def test_a_job_that_fails_is_logged_and_runs_again(
    timers: SchedulerTimers, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad pass must not end the reaper."""
    bell = Bell()

    async def fail() -> None:
        await bell.ring()
        raise RuntimeError("a bad pass")

    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            timers.at("a", _in(-1), fail)
            await bell.heard()
        async with asyncio.timeout(10):
            while (
                sum(
                    "a bad pass" in record.getMessage() or "failed" in record.getMessage()
                    for record in caplog.records
                )
                < 2
            ):
                await asyncio.sleep(0.01)
    assert bell.rung == 2


async def test_an_interval_job_runs_again_and_again(timers: SchedulerTimers) -> None:
    """At least every second, whatever was asked."""
    bell = Bell()
    timers.every("a", 0.1, bell.ring)
    for _ in range(2):
        await bell.heard()


async def test_stopping_twice_is_harmless(timers: SchedulerTimers, caplog: pytest.LogCaptureFixture) -> None:
    """Also before the start; and what is stopped rings no more."""
    stopped, bell, end = SchedulerTimers(), Bell(), Bell()
    stopped.stop()
    stopped.start()
    stopped.at("a", _in(0.05), bell.ring)
    stopped.stop()
    stopped.stop()
    timers.at("end", _in(0.3), end.ring)
    await end.heard()
    assert bell.rung == 0
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_an_alarm_is_the_daemon_s_own_doing_whoever_set_it(timers: SchedulerTimers) -> None:
    """It is not done on behalf of whose change has moved it."""
    rang: asyncio.Future[Act] = asyncio.get_running_loop().create_future()

    async def ring() -> None:
        rang.set_result(acting())

    with on_behalf_of(Act("agent uid=1 pid=2")):
        timers.at("alarm", _in(0), ring)
    assert await asyncio.wait_for(rang, 10) == BY_ITSELF
