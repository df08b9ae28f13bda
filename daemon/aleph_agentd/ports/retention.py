"""The part of the inventory that keeps it from growing without bound."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ..domain.model import Vm


class Retention(Protocol):
    """Part of `Inventory`; each method is one transaction."""

    async def outlived(self, before: datetime, limit: int) -> list[Vm]:
        """Tombstones that ended before then and for which nothing is reserved, the oldest first.

        Of those that are gone only what was looked up once more after its end.
        """
        ...

    async def remove(self, item_hashes: Sequence[str], before: datetime) -> int:
        """Delete those of them that are `outlived` now, with everything that was signed for them; how many.

        Their movements of money stay.
        """
        ...

    async def sum_up(self, before: datetime, limit: int) -> int:
        """Replace all movements of up to `limit` VMs without a row, if all of them are older, by sums per account
        and UTC day; how many went. The sums of the accounts do not change."""
        ...
