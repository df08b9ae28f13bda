"""What time it is, when the wall clock may be wrong. Pure.

The time goes on by BOOTTIME, which nobody can set and which counts suspend, and follows the wall clock
forward. A wall clock that leaps ahead is not believed until a second source agrees, because leases would
end by it; one that falls behind is not followed at all. So within one process time never goes back.
All of it is UTC: a change to summer time moves nothing here.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

TOLERANCE = timedelta(minutes=10)
"""A leap up to this is believed at once."""
AFTER_BOOT = timedelta(days=1)
"""How long the machine may have been off without being asked about it."""
HOLD = timedelta(hours=1)
"""A wall clock that nobody contradicts for this long is believed."""
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""Any clock that says less has lost its battery."""


@dataclass(frozen=True)
class Reading:
    """One look at the machine's clocks."""

    wall: datetime
    boot: str
    """The id of this boot; empty when it is not known."""
    up_s: float
    """BOOTTIME: seconds since the boot, suspend included."""
    awake_s: float
    """MONOTONIC: seconds since the boot, suspend left out."""


@dataclass(frozen=True)
class Kept:
    """What an earlier process knew: it was `at` when `boot` was up for `up_s`."""

    at: datetime
    boot: str
    up_s: float


@dataclass(frozen=True)
class Doubt:
    """The wall clock says something that is not believed yet."""

    claimed: datetime
    since_s: float
    """The uptime at which it began."""
    behind: bool = False
    """The wall clock fell behind while the machine was off: it cannot tell how long that was."""


@dataclass(frozen=True)
class Timeline:
    """It was `at` at an uptime of `up_s`."""

    at: datetime
    up_s: float
    doubt: Doubt | None = None
    refuted: timedelta | None = None
    """How far ahead the wall clock is known to be wrong."""


def begin(kept: Kept | None, reading: Reading) -> Timeline:
    """The first look of a process."""
    wall, up_s = reading.wall, reading.up_s
    if kept is None:
        lost = Doubt(wall, up_s, behind=True) if wall < EARLIEST else None
        return Timeline(wall, up_s, lost)
    if kept.boot and kept.boot == reading.boot:
        return advance(Timeline(kept.at, kept.up_s), reading)
    lead = wall - kept.at
    if timedelta(0) <= lead <= AFTER_BOOT:
        return Timeline(wall, up_s)
    behind = lead < timedelta(0)
    small = behind and -lead <= AFTER_BOOT
    return Timeline(kept.at, up_s, None if small else Doubt(max(wall, kept.at), up_s, behind))


def advance(line: Timeline, reading: Reading) -> Timeline:
    """The next look."""
    wall, up_s = reading.wall, reading.up_s
    now = line.at + timedelta(seconds=max(0.0, up_s - line.up_s))
    lead = wall - now
    if lead < timedelta(0) or wall < EARLIEST:
        stays = line.doubt is not None and line.doubt.behind
        return Timeline(now, up_s, line.doubt and replace(line.doubt, claimed=now) if stays else None)
    if lead <= TOLERANCE:
        return Timeline(wall, up_s)
    if line.refuted is not None and abs(lead - line.refuted) <= TOLERANCE:
        return Timeline(now, up_s, refuted=line.refuted)
    doubt = line.doubt or Doubt(wall, up_s)
    return Timeline(now, up_s, replace(doubt, claimed=wall))


def settle(line: Timeline, reading: Reading, network: datetime | None) -> Timeline:
    """A doubt ends by the network's word, or when it has lasted for `HOLD` without one."""
    line = advance(line, reading)
    if line.doubt is None:
        return line
    if network is None:
        held = timedelta(seconds=line.up_s - line.doubt.since_s)
        return Timeline(line.doubt.claimed, line.up_s) if held >= HOLD else line
    wall = reading.wall
    if abs(network - wall) <= TOLERANCE:
        # Two sources agree. Only after another boot can this be less than what was kept: that was wrong.
        return Timeline(wall, line.up_s)
    # Between what is sure and what the wall clock says, where it says more: one source alone moves no further.
    at = max(line.at, min(network, wall) if wall > line.at else network)
    return Timeline(at, line.up_s, refuted=wall - at if wall > at else None)
