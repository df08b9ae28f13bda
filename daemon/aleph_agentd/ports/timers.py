"""Alarms."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol


class Timers(Protocol):
    """Alarms that may be lost without harm."""

    def every(self, name: str, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        """Run again and again, never twice at once; the first time after `seconds`."""
        ...

    def at(self, name: str, when: datetime | None, run: Callable[[], Awaitable[None]]) -> None:
        """One alarm by this name: moved by a later call, removed by None; an instant in the past fires at once."""
        ...

    def realign(self) -> None:
        """The wall clock was set, or the machine was asleep: set every alarm anew."""
        ...

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """Forget all alarms."""
        ...
