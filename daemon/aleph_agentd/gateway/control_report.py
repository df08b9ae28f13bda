"""`report` on control.sock: the life and the cost of every VM since an instant."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ..domain.clock import iso
from ..domain.model import Vm
from ..services.core import Services
from ..services.spending import SpendLine, spend_lines
from .control_spend import instant, spend_view
from .rpc.connection import Connection, Handler

PAGE = 200
_DAYS = 30


class Report:
    """The handler of `report`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the methods of control.sock."""
        return {"report": self.report}

    async def report(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """A page of VMs, the newest first."""
        services, now = self._services, self._services.clock.now()
        since = instant(params.get("since"), now - timedelta(days=_DAYS))
        after = str(params.get("after") or "")[:64]
        lines, total = await spend_lines(
            services.inventory, services.expenses, services.clock, since, limit=PAGE + 1, after=after
        )
        rows = await services.inventory.known([line.of.item_hash for line in lines])
        return {
            "since": iso(since),
            "until": iso(now),
            "vms": [_view(line, rows.get(line.of.item_hash), now) for line in lines[:PAGE]],
            "total": total,
            "more": len(lines) > PAGE,
        }


def _view(line: SpendLine, vm: Vm | None, now: datetime) -> dict[str, Any]:
    """What `spend` tells, and when it lived; of a VM whose row is gone only its money is known."""
    told = {**spend_view(line), "billed_from": iso(line.of.began_at), "billed_until": None}
    if vm is None:
        return told
    began = vm.broadcast_at or vm.created_at
    return {
        **told,
        "state": str(vm.state),
        "cause": vm.cause,
        "client": vm.client,
        "purpose": vm.purpose,
        "compute_units": vm.compute_units,
        "crn_name": vm.crn_name,
        "lease_ends_at": iso(vm.expires_at),
        "billed_from": iso(began),
        "billed_until": iso(now if vm.billing else began + vm.billed(now)),
    }
