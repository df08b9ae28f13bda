"""Where times come from. Everything that decides on time takes a `Clock` or a `now`."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The current instant, always aware and in UTC."""

    def now(self) -> datetime:
        """The current instant."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> datetime:
        """The wall clock's instant in UTC."""
        return datetime.now(UTC)


def iso(at: datetime | None) -> str | None:
    """An instant as agents read it: ISO 8601, UTC, whole seconds, `Z`."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(seconds: float) -> str:
    """A duration in words: `12 min`, `1 h 5 min`, `2 d 3 h`, `8 s`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"
