"""At most so many connections per second, and so many at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Pace:
    """A budget of connections; counts what it let through."""

    def __init__(self, per_s: float, at_once: int) -> None:
        self.per_s = per_s
        self._room = asyncio.Semaphore(at_once)
        self._next = 0.0
        self.opened = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for room and for one's turn."""
        async with self._room:
            now = asyncio.get_running_loop().time()
            starts = max(now, self._next)
            self._next = starts + 1 / self.per_s
            await asyncio.sleep(starts - now)
            self.opened += 1
            yield
