"""Who has spent what: reserved, estimated by our clock, and observed on the network."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ..domain.clock import Clock
from ..domain.model import Vm
from ..ports import Inventory, Spending
from .expenses import Expenses


@dataclass(frozen=True)
class SpendLine:
    """The money of one VM over a time, in units."""

    of: Spending
    estimated: int
    """What it has cost so far by our own clock; once it has ended, what was settled."""
    observed: int | None
    """What the network has booked for it in the last day; None while it does not say."""


async def spend_lines(
    inventory: Inventory,
    expenses: Expenses,
    clock: Clock,
    since: datetime,
    *,
    session: str = "",
    limit: int,
    after: str = "",
) -> tuple[list[SpendLine], int]:
    """A page of VMs, the newest first, and how many there are in all."""
    page, total = await inventory.spending(since, session, limit, after)
    rows = await inventory.known([line.item_hash for line in page])
    return list(_lines(page, rows, expenses, clock.now())), total


def _lines(
    page: Iterable[Spending], rows: dict[str, Vm], expenses: Expenses, now: datetime
) -> Iterable[SpendLine]:
    for line in page:
        vm = rows.get(line.item_hash)
        running = vm.cost_units(now) if vm is not None and vm.billing else line.spent
        yield SpendLine(line, running, expenses.charged(line.item_hash))
