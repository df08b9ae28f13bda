"""`resources/updated`: what a client that subscribed is told when VMs or the budget changed.

Told is that something changed, never what: the client reads the resource again. Only what leaves an event counts, for
every call leaves an audit entry, and a client that reads what it is told of would be told of its own reading for ever.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from aleph_agentd.ports import StoreTrouble

log = logging.getLogger(__name__)

PAUSE_S = 1.0
"""Whatever happens in this time is one update."""


class Announcer(Protocol):
    """Who tells the sessions."""

    async def announce(self) -> bool:
        """Tell everybody who subscribed; False while somebody who does not read is still to be told."""


class Updates:
    """One for all sessions; works only while there is something to tell."""

    def __init__(self, newest_event: Callable[[], Awaitable[int]], announcer: Announcer) -> None:
        self._newest_event, self._announcer = newest_event, announcer
        self._seen = -1
        self._changed = False
        self._task: asyncio.Task[None] | None = None

    def changed(self) -> None:
        """Something was written; must be called in the event loop, as often as it likes."""
        self._changed = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="resource updates")

    def stop(self) -> None:
        """Tell nobody any more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        told = True
        while self._changed or not told:
            self._changed = False
            await asyncio.sleep(PAUSE_S)
            told = await self._tell(told)

    async def _tell(self, told: bool) -> bool:
        try:
            newest = await self._newest_event()
        except StoreTrouble as trouble:
            log.info("nobody is told what changed: %s", trouble)
            return True
        if newest == self._seen and told:
            return True
        self._seen = newest
        return await self._announcer.announce()
