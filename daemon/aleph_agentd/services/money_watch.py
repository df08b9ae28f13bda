"""What watches money while VMs run, joined: the payer's real expenses, and how long the balance lasts."""

from typing import Any

from ..domain.clock import Clock
from ..ports import Inventory, Market
from .expenses import Expenses
from .freezes import Freezes
from .runway import Runway
from .teardown import Teardown
from .treasury import Treasury


def watch_money(
    inventory: Inventory,
    market: Market,
    treasury: Treasury,
    teardown: Teardown,
    clock: Clock,
    freezes: Freezes,
) -> dict[str, Any]:
    """Fields of `Services`: both, with what they say in every answer and in `status`."""
    expenses = Expenses(inventory, market, treasury, clock, freezes.freeze)
    runway = Runway(inventory, treasury, teardown, clock)
    return {
        "expenses": expenses,
        "runway": runway,
        "notices": [expenses.alerts, runway.alerts],
        "figures": {"expenses": expenses.figures, "runway": runway.figures},
    }
