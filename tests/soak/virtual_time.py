"""One clock for a whole process: it stands still while anything works, and jumps when all of it waits.

Everything reads it: `time.time`, `datetime.now` and the SDK's timestamps through time-machine,
`time.monotonic`, BOOTTIME and the event loop's timers through what is put in their place here. So it must
be begun before the modules are imported that keep a reference to one of these.
"""

import asyncio
import selectors
import time
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any
from weakref import WeakSet

import time_machine

LIFE: ContextVar[int] = ContextVar("life", default=0)
"""Which process of the simulated machine a task belongs to; 0: none, it outlives them all."""

_THREAD_S = 1.0
_IDLE_S = 0.01
_boottime = getattr(time, "CLOCK_BOOTTIME", None)


class VirtualTime:
    """The clocks of the simulated machine, from `start` (Unix seconds) on."""

    def __init__(self, start: float) -> None:
        self.wall, self.awake_s, self.asleep_s = start, 1000.0, 0.0
        self._real = time.monotonic, time.clock_gettime
        self._traveller = time_machine.travel(start, tick=False)
        self._coordinates = self._traveller.start()
        time.monotonic = lambda: self.awake_s
        time.clock_gettime = self._gettime

    def end(self) -> None:
        """Give the process its own clocks back, for who has not kept a reference to ours."""
        time.monotonic, time.clock_gettime = self._real
        self._traveller.stop()

    def pass_by(self, seconds: float) -> None:
        """Time goes by, awake."""
        self.awake_s += seconds
        self._set(seconds)

    def suspend(self, seconds: float) -> None:
        """The machine sleeps: the wall clock and BOOTTIME go on, MONOTONIC and every timer stand still."""
        self.asleep_s += seconds
        self._set(seconds)

    def _set(self, seconds: float) -> None:
        self.wall += seconds
        self._coordinates.move_to(self.wall)

    def _gettime(self, clock: int) -> float:
        if clock == _boottime:
            return self.awake_s + self.asleep_s
        return self.awake_s if clock == time.CLOCK_MONOTONIC else self._real[1](clock)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to its next timer when no socket and no thread has anything left to say.

    Both ends of every connection are in this process, so that what was sent has arrived already.
    """

    def __init__(self, clock: VirtualTime) -> None:
        self.virtual, self._threads = clock, 0
        self._awaited: tuple[int, asyncio.Future[None]] | None = None
        self._resumed: asyncio.Future[None] | None = None
        self._of_life: dict[int, WeakSet[asyncio.Task[Any]]] = {}
        super().__init__(_Jumping(self))
        self.set_task_factory(self._task)

    @property
    def threads_work(self) -> bool:
        """Whether something runs in a thread whose end the loop will be told."""
        return self._threads > 0

    def time(self) -> float:
        """The virtual machine's MONOTONIC."""
        return self.virtual.awake_s

    def add_signal_handler(self, *_: Any) -> None:
        """The simulated process's wish, never granted: signals are for whoever runs all this."""

    def suspend(self, seconds: float) -> None:
        """Suspend the machine, and wake those at its resume who go by the wall clock."""
        self.virtual.suspend(seconds)
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.set_result(None)

    async def nap(self, seconds: float) -> None:
        """Sleep so long, or until the machine resumes from a suspend."""
        if self._resumed is None:
            self._resumed = self.create_future()
        await asyncio.wait({self._resumed}, timeout=seconds)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """As ever, and counted. What the thread tells the loop belongs to the life that asked."""
        future = super().run_in_executor(executor, copy_context().run, func, *args)
        self._threads += 1
        if self._awaited is not None:
            left, reached = self._awaited
            self._awaited = (left - 1, reached) if left else None
            if not left and not reached.done():
                reached.set_result(None)
        future.add_done_callback(self._thread_ended)
        return future

    async def in_the_middle(self, count: int, within_s: float) -> None:
        """Return right when the `count`-th piece of work from now on has been given to a thread.

        Only there does anything happen: between two timers, time stands still.
        """
        reached = self.create_future()
        self._awaited = (count, reached)
        await asyncio.wait({reached}, timeout=within_s)

    def _thread_ended(self, _: Any) -> None:
        self._threads -= 1

    def _task(self, loop: Any, work: Any, context: Context | None = None) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, context=context)
        life = LIFE.get() if context is None else context.get(LIFE, 0)
        if life:
            self._of_life.setdefault(life, WeakSet()).add(task)
        return task

    async def kill(self, life: int) -> None:
        """End all tasks of a life at whatever they wait for, and its timers, as the end of a process does."""
        me = asyncio.current_task()
        while left := {task for task in self._of_life.get(life, ()) if not task.done() and task is not me}:
            for task in left:
                task.cancel()
            await asyncio.wait(left)
        for handle in self._scheduled:  # type: ignore[attr-defined]
            if handle._context.get(LIFE, 0) == life:
                handle.cancel()
        self._of_life.pop(life, None)


class _Jumping(selectors.DefaultSelector):
    """Lets virtual time go by instead of real time."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        while self._loop.threads_work:
            if ready := super().select(_THREAD_S):
                return ready
        if timeout is None:
            return super().select(_IDLE_S)
        self._loop.virtual.pass_by(timeout)
        return []


async def until(moment: float) -> None:
    """Sleep until the wall clock says this; at once when it is past, or was passed by a suspend."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    while (left := moment - time.time()) > 0:
        await loop.nap(left)
