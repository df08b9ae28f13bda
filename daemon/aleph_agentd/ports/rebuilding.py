"""The part of the inventory that keeps it whole: rows for what only the network knows, extensions for its loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ..domain.model import Exposure, SignedMessage, Vm


@dataclass(frozen=True)
class Admission:
    """What decides whether a session gets an orphan, in the transaction that writes its row."""

    decide: Callable[[Exposure], None]
    budgets: Sequence[str]
    approval: str
    """Spent on it."""


class Rebuilding(Protocol):
    """Part of `Inventory`; each method is one transaction."""

    async def adopt(
        self,
        vm: Vm,
        forgets: Sequence[SignedMessage],
        reserve_units: int,
        now: datetime,
        admission: Admission | None = None,
    ) -> Vm:
        """A row for an orphan, with its kill switches and its reservation; the row that is there, if there is one.

        With an admission: only if it decides so, by spending its approval; raises StaleRow if there is a row.
        """
        ...

    async def unproven(self, since: datetime, limit: int) -> list[Vm]:
        """Failed rows that ended since then and whose bytes may have left, the longest unchecked first.

        They are checked when `verified_at` is noted.
        """
        ...

    async def unpublished(self, limit: int) -> list[Vm]:
        """Leased rows whose newest extension is not confirmed to be published."""
        ...

    async def extension(self, item_hash: str, n: int) -> SignedMessage | None:
        """The signed message that publishes the n-th extension of a lease, if there is one yet."""
        ...

    async def keep_extension(
        self, item_hash: str, n: int, message: SignedMessage, dated_at: datetime
    ) -> None:
        """Keep it before it is posted; instead of an older one of the same extension."""
        ...

    async def last_extension_at(self) -> datetime | None:
        """The latest date of any kept extension: the next one is dated later (rules.md 9)."""
        ...

    async def confirm_extension(self, item_hash: str, n: int, now: datetime) -> None:
        """It was read back from the network."""
        ...
