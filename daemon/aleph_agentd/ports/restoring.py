"""The part of the inventory that knows whether it was lost, and the counter beside it that tells (rules.md 7)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ..domain.model import Expense, PublishedEnd, Restored, Vm


class StartCounter(Protocol):
    """How often an inventory was started, kept outside of it."""

    async def read(self) -> int | None:
        """The count; None when there is none. Raises OSError, or ValueError for one that makes no sense."""
        ...

    async def write(self, count: int) -> None:
        """Keep a count: on disk, completely or not at all. Raises OSError."""
        ...


class Restoring(Protocol):
    """Part of `Inventory`; each method is one transaction."""

    async def starts(self) -> int | None:
        """How often this inventory was started, by itself; None when it never counted."""
        ...

    async def count_start(self, counted: int | None, now: datetime) -> int:
        """One start more than both counts say, and a mark if they tell that this inventory was lost or put back.

        `counted`: what the counter beside it says.
        """
        ...

    async def restored(self) -> Restored | None:
        """The mark, as long as what was lost is not folded in; it survives restarts."""
        ...

    async def mark_restored(self, why: str, now: datetime) -> Restored:
        """Set the mark; the one that is there stays.

        An intent that was not broadcast when the copy was made may have been since.
        """
        ...

    async def follow(self, item_hash: str, end: PublishedEnd, now: datetime) -> Vm:
        """Move a running lease forward to an extension that this inventory does not know, reserving the difference.

        What is known, or does not run any more, stays as it is.
        """
        ...

    async def count_in(self, expenses: Sequence[Expense], now: datetime) -> int:
        """Book those expenses of which the ledger knows nothing, each once, and take the mark away; the units booked."""
        ...
