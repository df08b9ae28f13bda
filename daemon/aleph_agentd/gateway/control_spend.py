"""`spend` on control.sock: what every VM has cost since an instant."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ..domain import money
from ..domain.clock import iso
from ..domain.errors import BadInput
from ..services.core import Services
from ..services.spending import SpendLine, spend_lines
from .rpc.connection import Connection, Handler

PAGE = 200


class Spend:
    """The handler of `spend`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the methods of control.sock."""
        return {"spend": self.spend}

    async def spend(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """A page of VMs, the newest first, with the sums of everybody."""
        services = self._services
        since = instant(params.get("since"), services.clock.now() - timedelta(hours=24))
        after = str(params.get("after") or "")[:64]
        lines, total = await spend_lines(
            services.inventory, services.expenses, services.clock, since, limit=PAGE + 1, after=after
        )
        exposure = (await services.treasury.overview("")).exposure
        left = services.treasury.budget_left(services.treasury.limits, exposure)
        return {
            "since": iso(since),
            "vms": [spend_view(line) for line in lines[:PAGE]],
            "total": total,
            "more": len(lines) > PAGE,
            "spent_day_credits": money.in_credits(exposure.spent_day_units),
            "reserved_credits": money.in_credits(exposure.reserved_units),
            "budget_left": None if left is None else money.in_credits(left),
            "expenses": services.expenses.figures(),
        }


def spend_view(line: SpendLine) -> dict[str, Any]:
    """The money of one VM, in both currencies."""
    return {
        "item_hash": line.of.item_hash,
        "name": line.of.name,
        "project": line.of.project,
        "session": line.of.session,
        "live": line.of.live,
        "began_at": iso(line.of.began_at),
        **{
            f"{name}_{unit}": None if units is None else show(units)
            for name, units in (
                ("reserved", line.of.reserved),
                ("estimated", line.estimated),
                ("settled", line.of.spent),
                ("observed", line.observed),
            )
            for unit, show in (("credits", money.in_credits), ("usd", money.in_usd))
        },
    }


def instant(value: object, otherwise: datetime) -> datetime:
    """An instant with its zone, as a caller gave it. Raises BadInput."""
    if value is None:
        return otherwise
    try:
        at = datetime.fromisoformat(str(value)[:40])
        if at.tzinfo is None:
            raise ValueError("without a zone")
    except ValueError:
        raise BadInput(
            f"since is {str(value)[:40]!r}.", "Use an instant such as 2026-11-25T12:00:00Z."
        ) from None
    return at
