"""The part of the inventory that remembers what is frozen."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ..domain.freezes import Freeze, FreezeKind


class FreezeLog(Protocol):
    """Part of `Inventory`; each method is one transaction."""

    async def freezes(self) -> tuple[Freeze, ...]:
        """Those that nobody has lifted, oldest first."""
        ...

    async def freeze(self, kind: FreezeKind, scope: str, by: str, reason: str, now: datetime) -> Freeze:
        """A new one; the one that is there already, if it says the same. With its event."""
        ...

    async def lift(self, numbers: Sequence[int], by: str, now: datetime) -> int:
        """Lift these; how many of them were still there. With its event."""
        ...
