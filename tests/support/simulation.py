"""Simulated time: a day passes as fast as the machine can think, and everything happens in the same order again.

The event loop's time goes on only when nothing can happen at the present moment, and then by exactly as much
as the next thing waits for. The daemon's clock and its alarms go by it, and so do all of its pauses.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from support.clock import NOON


class _Skipping(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Instead of waiting, it lets time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """What is ready now."""
        if timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        self.passed_s += max(0.0, timeout)
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is simulated, whose threads are turns, and that can be killed."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)
        self.dead = False
        """Nobody runs any more: what is being cancelled can neither write nor send."""

    def time(self) -> float:
        """Seconds since it began."""
        return self._skipping.passed_s

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Done in a turn of its own, and told in the one after: in between its caller may have died."""
        told: asyncio.Future[Any] = self.create_future()

        def tell(error: BaseException | None, result: Any) -> None:
            if not told.done():
                told.set_exception(error) if error else told.set_result(result)

        def work() -> None:
            if self.dead or told.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - it is the caller's, as from a thread
                self.call_soon(tell, error, None)
            else:
                self.call_soon(tell, None, result)

        if self.dead:
            told.cancel()
        self.call_soon(work)
        return told

    def kill(self) -> None:
        """End every task as SIGKILL would: where it waits, and without a last word that could be heard."""
        self.dead = True
        while tasks := asyncio.all_tasks(self):
            for task in tasks:
                task.cancel()
            self.run_until_complete(asyncio.wait(tasks))
        self.dead = False


class SimulatedClock:
    """The loop's time as UTC, and the leaps that it makes while the machine sleeps."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop, self._leapt = loop, timedelta(0)
        self._leaps: list[tuple[datetime, timedelta]] = []

    def now(self) -> datetime:
        """The present moment."""
        return NOON + timedelta(seconds=self._loop.time()) + self._leapt

    def leap(self, **delta: float) -> None:
        """Time goes by while nothing runs."""
        self._leaps.append((self.now(), timedelta(**delta)))
        self._leapt += timedelta(**delta)

    def slept_since(self, at: datetime) -> timedelta:
        """How much of the time from then on went by like this."""
        return sum((delta for began, delta in self._leaps if began >= at), timedelta(0))


class SimulatedTimers:
    """`ports.Timers` on a simulated loop. An alarm goes by the loop's time, which stands still in suspend."""

    def __init__(self, loop: SimulatedLoop, clock: SimulatedClock) -> None:
        self._loop, self._clock = loop, clock
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.errors: list[BaseException] = []

    def every(self, name: str, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        """Again and again, never twice at once."""

        def again() -> None:
            self._start(name, run)
            self.every(name, seconds, run)

        self._alarms[name] = self._loop.call_later(seconds, again)

    def at(self, name: str, when: datetime | None, run: Callable[[], Awaitable[None]]) -> None:
        """One alarm by this name."""
        if alarm := self._alarms.pop(name, None):
            alarm.cancel()
        if when is not None:
            left = (when - self._clock.now()).total_seconds()
            self._alarms[name] = self._loop.call_later(max(0.0, left), lambda: self._start(name, run))

    def realign(self) -> None:
        """Nothing to do: who wakes the machine runs the reaper."""

    def start(self) -> None:
        """It has begun."""

    def stop(self) -> None:
        """Forget all alarms."""
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()

    def _start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        if name not in self._tasks:
            task = self._loop.create_task(_awaited(run), name=f"timer:{name}")
            self._tasks[name] = task
            task.add_done_callback(lambda done: self._ended(name, done))

    def _ended(self, name: str, task: "asyncio.Task[None]") -> None:
        del self._tasks[name]
        if not task.cancelled() and (error := task.exception()):
            self.errors.append(error)


async def _awaited(run: Callable[[], Awaitable[None]]) -> None:
    await run()
