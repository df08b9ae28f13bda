"""The simulated machine: its clocks, its loop, and the death of its processes."""

import asyncio
import time
from collections.abc import Iterator
from contextvars import copy_context
from datetime import UTC, datetime
from threading import Event
from typing import Any

import pytest

from soak.virtual_time import LIFE, VirtualLoop, VirtualTime, until

START = 1_798_761_600.0


@pytest.fixture
def clock() -> Iterator[VirtualTime]:
    """Its clocks, for one test."""
    clock = VirtualTime(START)
    yield clock
    clock.end()


def run(clock: VirtualTime, work: Any) -> Any:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(work)


def test_a_month_of_sleep_passes_on_every_clock_at_once(clock: VirtualTime) -> None:
    """And takes no real time: the test's own limit is seconds."""
    before = time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)

    async def month() -> None:
        for _ in range(30):
            await asyncio.sleep(86_400)

    run(clock, month())
    assert time.time() == pytest.approx(START + 30 * 86_400)
    assert datetime.now(UTC).timestamp() == pytest.approx(time.time())
    assert time.monotonic() - before[0] == pytest.approx(30 * 86_400)
    assert time.clock_gettime(time.CLOCK_BOOTTIME) - before[1] == pytest.approx(30 * 86_400)


def test_timers_stand_still_while_the_machine_is_suspended(clock: VirtualTime) -> None:
    """BOOTTIME and the wall clock go on without them."""

    async def sleeper() -> tuple[float, float]:
        awake, boot = time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)
        asyncio.get_running_loop().call_later(10, clock.suspend, 3600)
        await asyncio.sleep(60)
        return time.monotonic() - awake, time.clock_gettime(time.CLOCK_BOOTTIME) - boot

    assert run(clock, sleeper()) == (pytest.approx(60), pytest.approx(3660))
    assert time.time() == pytest.approx(START + 3660)


def test_until_goes_by_the_wall_clock_whatever_is_slept_through(clock: VirtualTime) -> None:
    """At the resume when its moment has passed meanwhile, else at its moment."""

    async def waiter() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.call_later(10, loop.suspend, 3600)
        await until(START + 60)
        assert time.time() == pytest.approx(START + 3610)
        loop.call_later(10, loop.suspend, 3600)
        await until(START + 9000)

    run(clock, waiter())
    assert time.time() == pytest.approx(START + 9000)


def test_time_stands_still_while_a_thread_works(clock: VirtualTime) -> None:
    """However short the next timer is."""
    go = Event()

    async def work() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        in_thread = loop.run_in_executor(None, go.wait, 60)
        soon = loop.create_task(asyncio.sleep(0.001))
        await asyncio.sleep(0)
        loop.call_soon(go.set)
        await in_thread
        took = loop.time() - began
        await soon
        return took

    assert run(clock, work()) == 0


def test_a_killed_life_ends_with_its_tasks_and_timers_and_no_other_does(clock: VirtualTime) -> None:
    """Also timers that one of its threads has asked for."""
    rang: list[str] = []

    def of_a_thread(loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(lambda: loop.call_later(5, rang.append, "dead"))

    async def life(name: str) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(5, rang.append, name)
        if name == "dead":
            await loop.run_in_executor(None, of_a_thread, loop)
        await asyncio.create_task(asyncio.sleep(60))
        rang.append(f"{name} ended by itself")

    async def machine() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        lives = []
        for number, name in enumerate(("dead", "alive"), 1):
            context = copy_context()
            context.run(LIFE.set, number)
            lives.append(loop.create_task(life(name), context=context))
        await asyncio.sleep(1)
        await loop.kill(1)
        assert lives[0].cancelled()
        await lives[1]

    run(clock, machine())
    assert rang == ["alive", "alive ended by itself"]


def test_a_kill_can_wait_for_work_that_is_under_way(clock: VirtualTime) -> None:
    """It comes back right after the work was given to a thread; without any, after its limit."""

    async def machine() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)

        async def worker() -> None:
            for _ in range(3):
                await asyncio.sleep(1)
                await asyncio.to_thread(time.sleep, 0)

        work = loop.create_task(worker())
        began = loop.time()
        await loop.in_the_middle(1, 15)
        middle = loop.time() - began
        await work
        began = loop.time()
        await loop.in_the_middle(0, 15)
        return middle, loop.time() - began

    assert run(clock, machine()) == (pytest.approx(2), pytest.approx(15))
