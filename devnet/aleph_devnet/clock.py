"""One clock for the whole network, which tests can move."""

import time
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

from aleph_devnet.state import Store


class Clock:
    """Real time, run at `scale` since the network was made, plus an offset that is shared through a file."""

    def __init__(self, store: Store, shared_file: Path, scale: float = 1.0) -> None:
        self._store = store
        self._shared_file = shared_file
        self._scale = scale
        saved = store.get("meta", "clock") or {"anchor": time.time(), "offset_s": 0.0}
        self._anchor: float = saved["anchor"]
        self.offset_s: float = saved["offset_s"]
        self.set_offset(self.offset_s)

    def now(self) -> float:
        """The network's time, in Unix seconds."""
        return self._anchor + (time.time() - self._anchor) * self._scale + self.offset_s

    def advance(self, seconds: float) -> None:
        """Move the clock by `seconds`, which may be negative."""
        self.set_offset(self.offset_s + seconds)

    def set_offset(self, seconds: float) -> None:
        """Set the distance from real time, and tell processes that share the clock (libfaketime's format)."""
        self.offset_s = seconds
        self._store.put("meta", "clock", {"anchor": self._anchor, "offset_s": seconds})
        fresh = self._shared_file.with_suffix(".new")
        fresh.write_text(f"{seconds:+.3f}\n")
        fresh.replace(self._shared_file)


def iso(moment: float) -> str:
    """Unix seconds as the nodes write instants."""
    return datetime.fromtimestamp(moment, UTC).isoformat()


def http_date(moment: float) -> str:
    """Unix seconds as a `Date` header."""
    return formatdate(moment, usegmt=True)
