"""What was taken out of VMs before they ended, on the daemon's own disk."""

from datetime import datetime
from typing import Protocol

from ..domain.guest_saves import Taken


class SavedFiles(Protocol):
    """One archive for each VM. Every name in it, and its own, is ours; nothing in it is ever unpacked here.

    Each method raises OSError.
    """

    async def write(self, item_hash: str, taken: dict[str, Taken]) -> int:
        """Put an archive there, all of it or nothing, in place of an earlier one: how many bytes."""
        ...

    async def used(self, besides: str = "") -> int:
        """Bytes of all archives, less that of one VM."""
        ...

    async def drop(self, before: datetime, *, halves: bool) -> int:
        """Remove the archives that are older; how many. With `halves` also what a death left half written."""
        ...

    async def place(self, item_hash: str) -> str:
        """Where that of a VM lies; empty when there is none."""
        ...
