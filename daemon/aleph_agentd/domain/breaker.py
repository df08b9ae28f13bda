"""When to stop trying for a while: a count of recent failures, and one trial after a pause. Pure."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=10)
"""Failures that are further apart than this are no pattern."""
PAUSE = timedelta(minutes=10)
LONGEST_PAUSE = timedelta(hours=1)
TRIAL = timedelta(minutes=15)
"""The longest that a create may take: a trial that has told nothing by then makes room for another."""

CRN_FAILURES = 3
ALL_FAILURES, ALL_CRNS = 6, 2
"""Creates stop altogether after this many failures, on at least this many CRNs."""


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong, where, and why, in words."""

    at: datetime
    place: str
    why: str


@dataclass
class Breaker:
    """Closed; open after `limit` failures in a row within the window; then half open for one trial at a time."""

    limit: int
    places: int = 1
    """On how many different places they must have happened."""
    seen: deque[Failure] = field(init=False)
    _trips: int = 0
    _retry_at: datetime | None = None
    _trial_until: datetime | None = None

    def __post_init__(self) -> None:
        self.seen = deque(maxlen=self.limit)

    def failed(self, failure: Failure) -> None:
        """Count a failure. That of a trial opens it again, for twice as long."""
        self.seen.append(failure)
        recent = [one for one in self.seen if failure.at - one.at <= WINDOW]
        full = len(recent) >= self.limit and len({one.place for one in recent}) >= self.places
        rests = self._retry_at is not None and failure.at < self._retry_at
        if self._trial_until is not None or (full and not rests):
            self._trips += 1
            pause = min(LONGEST_PAUSE, PAUSE * 2 ** min(self._trips - 1, 10))
            self._retry_at, self._trial_until = failure.at + pause, None

    def succeeded(self) -> None:
        """All is well: close it and forget what was."""
        self.seen.clear()
        self._trips, self._retry_at, self._trial_until = 0, None, None

    def began(self, now: datetime) -> None:
        """An attempt begins; if it is the trial, it is the only one."""
        if self._retry_at is not None and self.open_until(now) is None:
            self._trial_until = now + TRIAL

    def open_until(self, now: datetime) -> datetime | None:
        """When to try again; None: now."""
        ends = [at for at in (self._retry_at, self._trial_until) if at is not None and now < at]
        return max(ends, default=None)
