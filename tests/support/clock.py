"""Time that stands still until a test moves it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class ManualClock:
    """A `domain.clock.Clock` that a test moves by hand."""

    def __init__(self, start: datetime = NOON) -> None:
        self._now = start

    def now(self) -> datetime:
        """The instant at which the test has stopped it."""
        return self._now

    def forward(self, **delta: float) -> datetime:
        """Move it on, by `timedelta`'s arguments."""
        self._now += timedelta(**delta)
        return self._now


class ManualTimers:
    """A `ports.Timers` that only remembers; a test runs what it wants to have run."""

    def __init__(self) -> None:
        self.alarms: dict[str, tuple[datetime, Callable[[], Awaitable[None]]]] = {}
        self.moves: list[tuple[str, datetime | None]] = []
        self.jobs: dict[str, tuple[float, Callable[[], Awaitable[None]]]] = {}
        self.realigned = 0

    def every(self, name: str, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        """Remember an interval job."""
        self.jobs[name] = (seconds, run)

    def at(self, name: str, when: datetime | None, run: Callable[[], Awaitable[None]]) -> None:
        """Remember an alarm, or drop it."""
        self.moves.append((name, when))
        if when is None:
            self.alarms.pop(name, None)
        else:
            self.alarms[name] = (when, run)

    def when(self, name: str) -> datetime | None:
        """The instant of an alarm."""
        return self.alarms[name][0] if name in self.alarms else None

    def realign(self) -> None:
        """Count it."""
        self.realigned += 1

    def start(self) -> None:
        """Nothing runs by itself."""

    def stop(self) -> None:
        """Forget all."""
        self.alarms.clear()
        self.jobs.clear()
