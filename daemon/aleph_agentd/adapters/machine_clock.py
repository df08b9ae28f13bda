"""The machine's clocks, and a small file that carries the time over to the next start (rules.md 19)."""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from ..domain import timeline
from ..domain.clock import SystemClock
from ..domain.timeline import Doubt, Kept, Reading

log = logging.getLogger(__name__)

SAVE_EVERY_S = 60.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Other systems than Linux have no such clock; there a suspend looks like a jump, and is asked about.
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@cache
def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def read_machine() -> Reading:
    """The clocks of this machine."""
    return Reading(SystemClock().now(), _boot(), time.clock_gettime(_BOOTTIME), time.monotonic())


class SteadyClock:
    """The `MachineClock` port. `path`: where the time is kept between two starts."""

    def __init__(self, path: Path, read: Callable[[], Reading] = read_machine) -> None:
        self._path, self._read = path, read
        first = read()
        self._boot = first.boot
        self._line = timeline.begin(_load(path), first)
        self._saved_at = -math.inf

    def now(self) -> datetime:
        """See ports.MachineClock."""
        self._line = timeline.advance(self._line, self._read())
        return self._line.at

    @property
    def doubt(self) -> Doubt | None:
        """See ports.MachineClock."""
        self.now()
        return self._line.doubt

    def lead(self) -> timedelta:
        """How far the wall clock, by which the alarms go, is ahead of the time."""
        look = self._read()
        self._line = timeline.advance(self._line, look)
        return look.wall - self._line.at

    def settle(self, network: datetime | None) -> bool:
        """See ports.MachineClock."""
        self._line = timeline.settle(self._line, self._read(), network)
        return self._line.doubt is None

    def asleep_s(self) -> float:
        """See ports.MachineClock."""
        look = self._read()
        return look.up_s - look.awake_s

    def wall_offset_s(self) -> float:
        """See ports.MachineClock."""
        look = self._read()
        return look.wall.timestamp() - look.up_s

    async def save(self, *, stopping: bool = False) -> None:
        """See ports.MachineClock. When stopping: even if it was written just before."""
        at, up_s = self.now(), self._line.up_s
        if not stopping and up_s - self._saved_at < SAVE_EVERY_S:
            return
        self._saved_at = up_s
        text = json.dumps({"at": at.isoformat(), "boot": self._boot, "up_s": up_s}) + "\n"
        try:
            await asyncio.to_thread(_write, self._path, text)
        except OSError as error:
            log.warning("the time could not be kept for the next start: %s", error)


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def _load(path: Path) -> Kept | None:
    try:
        said = json.loads(path.read_bytes())
        kept = Kept(
            datetime.fromisoformat(said["at"]).astimezone(UTC), str(said["boot"]), float(said["up_s"])
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None  # as at the first start: nothing is known
    return kept if math.isfinite(kept.up_s) else None
