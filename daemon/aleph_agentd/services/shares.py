"""Turns at what takes long inside VMs: so many at a time in all, and so many in the VMs of one session."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Shares:
    """Whoever finds no room waits for it; a session that fills its share delays itself only."""

    def __init__(self, in_all: int, of_session: int) -> None:
        self._room, self._of_session = asyncio.Semaphore(in_all), of_session
        self._sessions: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, session: str) -> AsyncIterator[None]:
        """Held while it runs."""
        own = self._sessions.get(session)
        if own is None:
            own = self._sessions[session] = asyncio.Semaphore(self._of_session)
        async with own, self._room:
            yield

    def is_used_up(self, session: str) -> bool:
        """Whether the next one of this session would wait."""
        own = self._sessions.get(session)
        return self._room.locked() or (own is not None and own.locked())
