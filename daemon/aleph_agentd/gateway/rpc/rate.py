"""How fast a client may ask: buckets of tokens that fill by themselves. An empty one makes it wait, and only it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

Turn = Callable[[float], Awaitable[None]]
"""Waits until a message that costs so many tokens may be taken."""


async def at_once(_: float) -> None:
    """Whoever may take its turn without waiting."""


class Bucket:
    """Up to `burst` tokens; `rate` more of them each second."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._left, self._at = rate, burst, burst, now

    def wait_s(self, now: float) -> float:
        """How long until there is a token; zero when there is one."""
        if self._left >= 1:
            return 0.0
        self._fill(now)
        return 0.0 if self._left >= 1 else (1 - self._left) / self._rate

    def take(self, cost: float, now: float) -> None:
        """Take tokens; more than there are make the next one wait the longer."""
        self._fill(now)
        self._left -= cost

    def full(self, now: float) -> bool:
        """Whether it forgets nothing when it is thrown away."""
        self._fill(now)
        return self._left >= self._burst

    def _fill(self, now: float) -> None:
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now


class Buckets:
    """One for each uid, kept while somebody is connected or it is not full again."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._of: dict[int, Bucket] = {}

    def of(self, uid: int, now: float) -> Bucket:
        """The bucket of a uid; full ones of others are thrown away."""
        if uid not in self._of:
            for other in list(self._full(now)):
                del self._of[other]
            self._of[uid] = Bucket(self._rate, self._burst, now)
        return self._of[uid]

    def _full(self, now: float) -> Iterator[int]:
        return (uid for uid, bucket in self._of.items() if bucket.full(now))


class Pacer:
    """One connection's turns, by its own bucket and its user's; without buckets it never waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.buckets: tuple[Bucket, ...] = ()

    def wait_s(self) -> float:
        """How long until the next message may be taken."""
        wait = 0.0
        for bucket in self.buckets:
            wait = max(wait, bucket.wait_s(self._loop.time()))
        return wait

    def count(self, cost: float) -> None:
        """A message was taken."""
        now = self._loop.time()
        for bucket in self.buckets:
            bucket.take(cost, now)

    async def turn(self, cost: float) -> None:
        """Wait until a message may be taken, and count it."""
        while wait := self.wait_s():  # noqa: ASYNC110 - tokens come with time, and others may take them
            await asyncio.sleep(wait)
        self.count(cost)

    def later(self, then: Callable[[], None]) -> None:
        """Call back when a message may be taken; once, however often it is asked for."""
        if self._timer is None:
            self._timer = self._loop.call_later(self.wait_s(), self._due, then)

    def cancel(self) -> None:
        """Do not call back any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _due(self, then: Callable[[], None]) -> None:
        self._timer = None
        then()
