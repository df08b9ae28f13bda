"""The daemon's own work in progress: it goes on when the caller that asked for it is gone."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ..domain.errors import Refusal

log = logging.getLogger(__name__)


class Jobs:
    """Named tasks. Starting a name that runs already joins it, so no work is done twice at once."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def start(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
        """The running task of this name, or a new one."""
        running = self._tasks.get(name)
        if running is not None:
            return running
        task = asyncio.get_running_loop().create_task(work(), name=name)
        self._tasks[name] = task
        task.add_done_callback(self._finished)
        return task

    def running(self, name: str) -> asyncio.Task[Any] | None:
        """The task of this name while it runs."""
        return self._tasks.get(name)

    async def drain(self, seconds: float) -> int:
        """Wait for what runs, then cancel the rest; the inventory knows how to go on with it."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=seconds)
        left = list(self._tasks.values())
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=5)
        return len(left)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task.get_name(), None)
        if task.cancelled():
            return
        error = task.exception()  # retrieved here, so that a job that nobody waits for is not silent
        if isinstance(error, Refusal):
            log.info("%s: %s", task.get_name(), error.message)
        elif error is not None:
            log.error("%s failed; the reaper goes on with it", task.get_name(), exc_info=error)
