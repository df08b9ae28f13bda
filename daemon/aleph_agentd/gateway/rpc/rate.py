"""How fast a client may ask: buckets of tokens that fill by themselves. An empty one makes it wait, and only it.

A client is a process: of connections and of sessions it has as many as it likes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

_COSTS = {"tools.call": 20.0, "mcp.open": 100.0}
MCP_MESSAGE = 20.0
READ = 1.0
"""For each time that bytes arrive: many small pieces cost more than one large one."""
_PARSED, _READ = 128, 1024
"""Bytes that cost as much as a plain request: to make values of them at worst, and only to read them."""

Turn = Callable[[float], Awaitable[None]]
"""Waits until a message that costs so many tokens may be taken."""


def cost_of(size: int, method: str = "") -> float:
    """Tokens for a message of so many bytes: about what it takes of the daemon's time, a `ping` being 1."""
    return _COSTS.get(method, 1.0) + size / _PARSED


def cost_of_line(size: int) -> float:
    """The same for a line of MCP."""
    return MCP_MESSAGE + size / _PARSED


def cost_of_reading(size: int) -> float:
    """Tokens for bytes that arrive, whatever they turn out to be."""
    return READ + size / _READ


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
        return self._filled(now) >= self._burst

    def modest(self, now: float) -> bool:
        """Whether less than half of it was taken of late."""
        return self._filled(now) >= self._burst / 2

    def _filled(self, now: float) -> float:
        self._fill(now)
        return self._left

    def _fill(self, now: float) -> None:
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now


class Buckets:
    """One for each process or uid, kept until it is full again: ask for it each time."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._of: dict[int, Bucket] = {}

    def of(self, number: int, now: float) -> Bucket:
        """The bucket of a pid or uid; full ones of others are thrown away."""
        if number not in self._of:
            for other in list(self._full(now)):
                del self._of[other]
            self._of[number] = Bucket(self._rate, self._burst, now)
        return self._of[number]

    def _full(self, now: float) -> Iterator[int]:
        return (number for number, bucket in self._of.items() if bucket.full(now))


@dataclass(frozen=True)
class Allowance:
    """What a connection may take: of its process's, and of what all processes of its user share."""

    processes: Buckets
    users: Buckets
    pid: int
    uid: int

    def wait_s(self, now: float) -> float:
        """How long until there is a token. Who asks little does not wait for others of its user."""
        own = self.processes.of(self.pid, now)
        return own.wait_s(now) or (0.0 if own.modest(now) else self.users.of(self.uid, now).wait_s(now))

    def take(self, cost: float, now: float) -> None:
        """Take tokens."""
        self.processes.of(self.pid, now).take(cost, now)
        self.users.of(self.uid, now).take(cost, now)


class Pacer:
    """One connection's turns; without an allowance it never waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.allowance: Allowance | None = None

    def wait_s(self) -> float:
        """How long until the next message may be taken."""
        return 0.0 if self.allowance is None else self.allowance.wait_s(self._loop.time())

    def count(self, cost: float) -> None:
        """A message was taken."""
        if self.allowance is not None:
            self.allowance.take(cost, self._loop.time())

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
