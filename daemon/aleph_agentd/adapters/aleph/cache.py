"""Answers that are kept for a while, and asked for once however many wait for them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_MAX_KEYS = 64


@dataclass(frozen=True)
class Kept(Generic[T]):
    """An answer and when it was fetched."""

    value: T
    fetched_at: float


class Cache(Generic[T]):
    """By key: an answer younger than `max_age_s`, or the running request for one, or a new request.

    A failure is not kept. A caller that is cancelled leaves the request to the others.
    """

    def __init__(
        self,
        fetch: Callable[[str], Awaitable[T]],
        max_age_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._max_age_s = max_age_s
        self._clock = clock
        self._kept: dict[str, Kept[T]] = {}
        self._running: dict[str, asyncio.Task[Kept[T]]] = {}

    async def get(self, key: str = "") -> tuple[T, float]:
        """The answer and its age in seconds."""
        kept = self._kept.get(key)
        if kept is None or self._clock() - kept.fetched_at >= self._max_age_s:
            kept = await asyncio.shield(self._request(key))
        return kept.value, max(0.0, self._clock() - kept.fetched_at)

    async def close(self) -> None:
        """End what still runs."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _request(self, key: str) -> asyncio.Task[Kept[T]]:
        if key not in self._running:
            task = asyncio.create_task(self._run(key))
            # Looked at here, because every caller may have gone by the time it fails.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._running[key] = task
        return self._running[key]

    async def _run(self, key: str) -> Kept[T]:
        started = self._clock()
        try:
            kept = Kept(await self._fetch(key), started)
            self._kept.pop(key, None)
            if len(self._kept) >= _MAX_KEYS:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = kept
            return kept
        finally:
            del self._running[key]
