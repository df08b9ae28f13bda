"""What control.sock offers on top of the tools: the owner's view of everything."""

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from .. import __version__
from ..domain import money
from ..domain.clock import iso, span
from ..domain.errors import BadInput, NotFound
from ..domain.model import LIVE, TOMBSTONES, Event, Vm, VmState
from ..services.core import Services
from ..tools.views import alerts, vm_view
from .control_orphans import Orphans, sweep_view
from .owner_guard import Guard
from .rpc.connection import Connection, Handler

_WHICH = {"live": LIVE, "ended": TOMBSTONES, "all": LIVE | TOMBSTONES}
_PAGE = 200
_EVENTS = 500
HUMAN = "human"


class Control:
    """The handlers of control.sock, by method name."""

    def __init__(
        self, services: Services, started_at: datetime, sessions: Callable[[], int], guard: Guard
    ) -> None:
        self._services, self._started_at, self._sessions = services, started_at, sessions
        self._guard = guard
        self._watchers: dict[Connection, int] = {}
        self._pushing: asyncio.Task[None] | None = None
        self._again = False

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the methods of both sockets."""
        return {
            "status": self.status,
            "vms.list": self.vms,
            "vms.get": self.vm,
            "events.watch": self.watch,
            "ledger.list": self.ledger,
            **Orphans(self._services, self._guard).methods(),
        }

    async def status(self, _: Connection, __: Mapping[str, Any]) -> dict[str, Any]:
        """Everything at a glance; answers also without key and network."""
        services = self._services
        treasury = services.treasury
        overview = await treasury.overview(HUMAN)
        exposure, now = overview.exposure, services.clock.now()
        nearest = overview.next_end
        left = treasury.budget_left(treasury.limits, exposure)
        balance = await treasury.balance_if_known()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started_at": iso(self._started_at),
            "network": services.network,
            "address": "" if services.signer.trouble else services.signer.address,
            "payer": treasury.payer,
            "key_trouble": services.signer.trouble,
            "vms": {str(state): await services.inventory.count([state]) for state in VmState},
            "next_end": nearest
            and {
                "name": nearest.name,
                "item_hash": nearest.item_hash,
                "at": iso(nearest.expires_at),
                "expires_in": span((nearest.expires_at - now).total_seconds()),
            },
            **_money("balance", balance),
            **_money("reserved", exposure.reserved_units),
            **_money("spent_day", exposure.spent_day_units),
            **_money("daily_limit", treasury.limits.max_daily_spend_units),
            "budget_left": None if left is None else money.in_credits(left),
            "burn_rate_per_hour": money.in_credits(exposure.burn_units_per_hour),
            "burn_rate_per_hour_usd": money.in_usd(exposure.burn_units_per_hour),
            "stuck": [f"{vm.name} ({vm.item_hash[:12]}): {vm.last_error}" for vm in overview.stuck],
            "alerts": [*alerts(services), *services.approvals.alerts()],
            "sweep": sweep_view(services.sweeper.findings),
            "sessions": self._sessions(),
            **{name: figures() for name, figures in services.figures.items()},
        }

    async def vms(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """A page of VMs, newest first."""
        states = sorted(_WHICH[_choice(params, "which", "live", _WHICH)])
        limit = _number(params, "limit", 50, _PAGE)
        inventory, now = self._services.inventory, self._services.clock.now()
        rows = await inventory.page(states=states, limit=limit + 1, after=str(params.get("after") or ""))
        return {
            "vms": [self._view(vm, now) for vm in rows[:limit]],
            "total": await inventory.count(states),
            "more": len(rows) > limit,
        }

    def _view(self, vm: Vm, now: datetime) -> dict[str, Any]:
        return vm_view(vm, now, HUMAN, self._services.idleness.words(vm)).model_dump(mode="json")

    async def vm(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """One VM with its money, and the host key that was pinned at the first contact."""
        reference = str(params.get("item_hash") or "")[:128]
        rows = await self._services.inventory.find(reference) if reference else []
        if len(rows) != 1:
            names = ", ".join(f"{vm.name} ({vm.item_hash[:16]})" for vm in rows[:5])
            raise NotFound(
                f"{reference!r} fits {len(rows)} VMs{': ' + names if names else ''}.",
                "See: aleph-agentctl vms --all",
            )
        vm = rows[0]
        movements = await self._services.inventory.ledger(100, vm.item_hash)
        keys = await self._services.inventory.guest_key(vm.item_hash)
        return {
            **self._view(vm, self._services.clock.now()),
            "saved_file": await self._services.saver.place(vm),
            "host_key": keys.host_key if keys else "",
            "cause": vm.cause,
            "project": vm.project,
            "client": vm.client,
            "session": vm.session,
            "ledger": [
                {"at": iso(row.at), "account": row.account, "cause": row.cause, **_amount(row.units)}
                for row in movements
            ],
        }

    async def ledger(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """The newest movements of money."""
        rows = await self._services.inventory.ledger(_number(params, "limit", 50, 1000))
        return {
            "movements": [
                {
                    "at": iso(row.at),
                    "item_hash": row.item_hash,
                    "account": row.account,
                    "cause": row.cause,
                    **_amount(row.units),
                }
                for row in rows
            ]
        }

    # ------------------------------------------------------------------ events

    async def watch(self, connection: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Notifications `event` from `after_id` on; without it, from now on.

        An `after_id` above the `last_id` of the answer is of another inventory, lost or from before a restore.
        """
        newest = await self._services.inventory.last_event_id()
        connection.watch()
        if connection not in self._watchers:
            connection.on_close(lambda: self._unwatch(connection))
        self._watchers[connection] = _number(params, "after_id", newest, 2**62)
        asyncio.get_running_loop().call_soon(self.changed)
        return {"watching": True, "last_id": newest}

    def _unwatch(self, connection: Connection) -> None:
        self._watchers.pop(connection, None)

    def changed(self) -> None:
        """The inventory changed: push new events, one push at a time."""
        self._again = True
        if self._watchers and self._pushing is None:
            self._pushing = asyncio.get_running_loop().create_task(self._push(), name="events")

    async def _push(self) -> None:
        try:
            while self._again and self._watchers:
                self._again = False
                for event in await self._services.inventory.events(min(self._watchers.values()), _EVENTS):
                    self._again = True
                    await self._tell(event)
        finally:
            self._pushing = None

    async def _tell(self, event: Event) -> None:
        vm = await self._services.inventory.get(event.item_hash) if event.item_hash else None
        told = {
            "id": event.id,
            "at": iso(event.at),
            "kind": event.kind,
            "item_hash": event.item_hash,
            "name": vm.name if vm else "",
            "text": event.text,
        }
        for connection, seen in list(self._watchers.items()):
            if seen < event.id:
                self._watchers[connection] = event.id
                if not connection.notify("event", told):
                    del self._watchers[connection]


def _money(name: str, units: int | None) -> dict[str, float | None]:
    return {
        f"{name}_credits": None if units is None else money.in_credits(units),
        f"{name}_usd": None if units is None else money.in_usd(units),
    }


def _amount(units: int) -> dict[str, float]:
    return {"credits": money.in_credits(units), "usd": money.in_usd(units)}


def _choice(params: Mapping[str, Any], name: str, default: str, allowed: Mapping[str, object]) -> str:
    value = params.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise BadInput(f"{name} is {str(value)[:40]!r}.", f"Use one of: {', '.join(allowed)}.")
    return value


def _number(params: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value = params.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise BadInput(f"{name} is {str(value)[:40]!r}.", f"Use a whole number from 0 to {most}.")
    return value
