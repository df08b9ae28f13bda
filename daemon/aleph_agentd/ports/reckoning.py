"""The part of the inventory that is held against what the network really charges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from ..domain.model import Vm


@dataclass(frozen=True)
class Spending:
    """The money of one VM over a time."""

    item_hash: str
    name: str
    """Empty when its row is gone."""
    project: str
    session: str
    live: bool
    began_at: datetime
    """Its first movement in that time."""
    reserved: int
    """What is reserved for it now."""
    spent: int
    """What was settled in that time."""


class Reckoning(Protocol):
    """Part of `Inventory`; each method is one transaction."""

    async def billed_since(self, since: datetime, limit: int) -> list[Vm]:
        """VMs that the network may have billed after this instant, the newest first."""
        ...

    async def book_late(self, charged: Mapping[str, int], now: datetime) -> dict[str, int]:
        """Book what settled VMs were charged beyond what the ledger holds: by VM, the difference, and only once.

        `charged`: what the network has charged for each in its whole life.
        """
        ...

    async def reprice(
        self, item_hashes: Sequence[str], rates: Mapping[str, Decimal], now: datetime
    ) -> dict[str, int]:
        """Reserve up to the worst case as it is now, for those that may be billed; what was added, by VM.

        `rates`: what the network says that some of them cost per second. A lower one changes no reservation.
        """
        ...

    async def spending(
        self, since: datetime, session: str, limit: int, after: str = ""
    ) -> tuple[list[Spending], int]:
        """VMs with money moved since then or still reserved, the newest first, and how many there are.

        Of one session, or of all when it is empty; `after`: the last hash of the page before.
        """
        ...
