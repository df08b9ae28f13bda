"""Looks out for what is about to happen: leases that end soon, a budget that is nearly used up, VMs that are stuck.

Each is written as an event, once: from there webhook, screen and `aleph-agentctl events` have it. The agent whose VM it
is hears of the end of its lease with its next answer, once per lease end.
"""

import logging
from collections import OrderedDict
from datetime import datetime

from ..domain import money
from ..domain.caller import Caller
from ..domain.clock import Clock, iso
from ..domain.leases import SOON, ends_soon
from ..domain.model import Vm
from ..domain.notices import BUDGET, ENDS_SOON, STUCK
from ..ports import Inventory, StoreTrouble
from .treasury import Treasury

log = logging.getLogger(__name__)

INTERVAL_S = 60.0
"""Each look sums up the whole ledger; with 10,000 leases and one every 15 s an idle daemon took 1.4 % of a core."""
BUDGET_PERCENT = 80
_STUCK, _LEASES, _LOOKS_BACK = 1000, 10_000, 10_000
"""Of more leases than that, those that end first are told of first."""
_REMEMBERED = 10_000


class Lookout:
    """Looks once a minute: in time for the last 15 minutes of a lease, and for the last quarter of one of 4 minutes."""

    def __init__(self, inventory: Inventory, treasury: Treasury, clock: Clock) -> None:
        self._inventory, self._treasury, self._clock = inventory, treasury, clock
        self._soon: list[Vm] = []
        self._written: set[tuple[str, str]] = set()
        """Hash and text of what was written and is still so, by an earlier life too."""
        self._remembers = False
        self._told: OrderedDict[tuple[str, str, datetime], None] = OrderedDict()
        self._over_budget: bool | None = None

    async def run(self) -> None:
        """One look; what cannot be written now is written at the next one."""
        try:
            await self._remember()
            self._written &= await self._ends() | await self._stuck()  # else it grows with every lease end
            await self._budget()
        except StoreTrouble as trouble:
            log.warning("what happens soon is not kept as an event: %s", trouble)

    async def _remember(self) -> None:
        if self._remembers:
            return
        last = await self._inventory.last_event_id()
        events = await self._inventory.events(max(0, last - _LOOKS_BACK), _LOOKS_BACK)
        self._written = {(one.item_hash, one.text) for one in events if one.kind in (ENDS_SOON, STUCK)}
        self._remembers = True

    async def _ends(self) -> set[tuple[str, str]]:
        now = self._clock.now()
        ripe = await self._inventory.ending(now, now + SOON, _LEASES)
        self._soon = [vm for vm in ripe if ends_soon(vm, now)]
        return {
            await self._write(ENDS_SOON, vm.item_hash, f"{vm.name}: its lease ends at {iso(vm.expires_at)}")
            for vm in self._soon
        }

    async def _stuck(self) -> set[tuple[str, str]]:
        told = set()
        for vm in await self._inventory.stuck(_STUCK):
            since = f" since {iso(vm.destroy_at)}" if vm.destroy_at else ""
            told.add(
                await self._write(STUCK, vm.item_hash, f"{vm.name}: teardown fails{since}, and is retried")
            )
        return told

    async def _write(self, kind: str, item_hash: str, text: str) -> tuple[str, str]:
        what = (item_hash, text)
        if what not in self._written:
            await self._inventory.record(kind, item_hash, text, self._clock.now())
            self._written.add(what)
        return what

    async def _budget(self) -> None:
        """When it is crossed upwards; a restart above it is no crossing."""
        limit = self._treasury.limits.max_daily_spend_units
        exposure = (await self._treasury.overview("")).exposure
        bound = exposure.spent_day_units + exposure.reserved_units
        over = limit is not None and bound * 100 >= limit * BUDGET_PERCENT
        if over and self._over_budget is False and limit is not None:
            text = f"{money.show(bound)} of {money.show(limit)} per day are spent or reserved"
            await self._inventory.record(BUDGET, "", text, self._clock.now())
        self._over_budget = over

    # ------------------------------------------------------------------ what the agent is told

    async def ends_soon(self, caller: Caller) -> list[Vm]:
        """This caller's own VMs whose lease ends soon, each once per lease end and session."""
        seen = [vm.item_hash for vm in self._soon if _is_own(vm, caller)]
        if not seen:
            return []
        # As they are now: one may just have been extended, or destroyed.
        now, rows = self._clock.now(), (await self._inventory.known(seen)).values()
        soon = [vm for vm in rows if ends_soon(vm, now)]
        fresh = [vm for vm in soon if (caller.session, vm.item_hash, vm.expires_at) not in self._told]
        for vm in fresh:
            self._told[caller.session, vm.item_hash, vm.expires_at] = None
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return fresh


def _is_own(vm: Vm, caller: Caller) -> bool:
    """The session's or, after that one is gone, its project's."""
    return vm.session == caller.session or (bool(vm.project) and vm.project == caller.project)
