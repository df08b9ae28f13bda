"""A machine whose clocks a test sets, suspends and boots."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from aleph_agentd.domain.timeline import Reading
from support.clock import NOON


@dataclass
class FakeMachine:
    """Call it for a reading."""

    reading: Reading = field(default_factory=lambda: Reading(NOON, "boot-1", 1000.0, 1000.0))

    def __call__(self) -> Reading:
        """The clocks as they stand."""
        return self.reading

    def passes(self, **delta: float) -> None:
        """Time goes by, awake."""
        self._move(timedelta(**delta), timedelta(**delta))

    def sleeps(self, **delta: float) -> None:
        """Suspend: only the monotonic clock stands still."""
        self._move(timedelta(**delta), timedelta(0))

    def is_set(self, **delta: float) -> None:
        """Somebody sets the wall clock by this much."""
        self.reading = replace(self.reading, wall=self.reading.wall + timedelta(**delta))

    def boots(self, wall: datetime) -> None:
        """Another boot, whose wall clock says this."""
        self.reading = Reading(wall, self.reading.boot + "'", 20.0, 20.0)

    def _move(self, by: timedelta, awake: timedelta) -> None:
        old = self.reading
        self.reading = Reading(
            old.wall + by, old.boot, old.up_s + by.total_seconds(), old.awake_s + awake.total_seconds()
        )
