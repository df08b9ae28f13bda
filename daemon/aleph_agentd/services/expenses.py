"""Our books against the payer's real expenses, and reservations against what VMs cost now (rules.md 15).

What the network does not tell says nothing: the last comparison stands, and nothing is booked or frozen by it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from ..domain import money
from ..domain.clock import Clock, iso
from ..domain.counting import counted
from ..domain.drift import DAY, REPRICED, Comparison, compare, whole_lives
from ..domain.errors import Refusal
from ..domain.model import LIVE, Vm
from ..ports import Inventory, Market, NetworkTrouble, StoreTrouble
from .treasury import PRICE_UNIT_CHANGED, Treasury

log = logging.getLogger(__name__)

REPRICE_S = 600.0
MOST_VMS = 5000
LOOKS_BACK = timedelta(days=8)
"""A VM that began before that, and has ended now, is compared by its last day alone."""
_AT_ONCE = 100
_LOOKS_BACK = 1000
"""Movements of money."""
_NAMED = 3
DRIFT = "the network's charges are more than 5 % off the books"
OVERRUN = "what is spent and reserved has grown past a limit while VMs ran"
UNIT = "the network's price is none that a VM costs: its unit has changed"

Freeze = Callable[[str], Awaitable[object]]
"""Stops creates and extends until a human lifts it; the same reason twice is one freeze."""


class Expenses:
    """Looks with every sweep at what was charged, and every ten minutes at what is still to come."""

    def __init__(
        self, inventory: Inventory, market: Market, treasury: Treasury, clock: Clock, freeze: Freeze
    ) -> None:
        self._inventory, self._market, self._treasury = inventory, market, treasury
        self._clock, self._freeze = clock, freeze
        self._seen = Comparison(datetime.fromtimestamp(0, UTC))
        self._late_units = 0
        self._told: dict[str, int] = {}
        self._first = True
        self.trouble = "not compared yet"
        """Why the last comparison could not be made; empty when it was."""

    def charged(self, item_hash: str) -> int | None:
        """What the network has booked for a VM in the last day, as far as it was told."""
        return self._told.get(item_hash)

    @property
    def observed_units(self) -> int:
        """What the network has booked in the last day for all VMs of ours, as far as it was told."""
        return self._seen.told

    # ------------------------------------------------------------------ what was charged

    async def run(self) -> None:
        """One comparison."""
        payer, now = self._treasury.payer, self._clock.now()
        if not payer:
            self.trouble = "there is no payer"
            return
        try:
            vms = await self._inventory.billed_since(now - DAY, MOST_VMS)
            began = [vm.broadcast_at for vm in vms if vm.forgotten_at and vm.broadcast_at]
            since = max(now - LOOKS_BACK, min([now - DAY, *began]) - timedelta(seconds=1))
            booked = await self._market.expenses(payer, since)
            late = await self._inventory.book_late(whole_lives(vms, booked, since), now)
        except (NetworkTrouble, StoreTrouble) as trouble:
            self.trouble = str(trouble)
            log.warning("expenses: %s", trouble)
            return
        self._late_units += sum(late.values())
        before, self._seen = self._seen.drifts, compare(vms, booked, now)
        self._told = {line.item_hash: line.told for line in self._seen.lines}
        self.trouble = ""
        await self._judge(before)

    async def _judge(self, before: bool) -> None:
        seen = self._seen
        if seen.drifts and not before:
            log.error("%s", self._words())
            await self._record("drift", self._words())
            await self._freeze(DRIFT)
        elif before and not seen.drifts:
            await self._record("drift_over", "the network's charges agree with the books again")

    def _words(self) -> str:
        seen = self._seen
        named = ", ".join(f"{line.name} ({line.item_hash[:12]})" for line in seen.worst[:_NAMED])
        return (
            f"The network has charged {money.show(seen.told)} in the last 24 hours for {counted(len(seen.lines), 'VM')} that cost"
            f" {money.show(seen.ours)} by our books; {money.show(seen.off)} is more than billing quanta explain: {named}"
        )

    # ------------------------------------------------------------------ what is to come

    async def reprice(self) -> None:
        """Reserve what live VMs may still cost at worst, by what they cost now."""
        if await self._unit_changed():
            return
        try:
            rates, now = await self._rates(), self._clock.now()
            added: dict[str, int] = {}
            after = ""
            while page := await self._inventory.page(states=sorted(LIVE), limit=_AT_ONCE, after=after):
                added |= await self._inventory.reprice([vm.item_hash for vm in page], _of(page, *rates), now)
                after = page[-1].item_hash
            if added:
                log.warning("reserved %d units more for %d VMs", sum(added.values()), len(added))
            if added or await self._grew_in_an_earlier_life(now):
                await self._look_for_overrun(now)
            self._first = False
        except Refusal as moved:  # the page's last row was removed meanwhile: the next pass sees the rest
            log.info("reprice: %s", moved.message)
        except StoreTrouble as trouble:
            log.warning("reprice: %s", trouble)

    async def _unit_changed(self) -> bool:
        """A price that no VM costs is no price: nothing is reserved by it, and nothing rented (rules.md 17)."""
        try:
            await self._treasury.cu_rate()
        except Refusal as refusal:
            if refusal.code == PRICE_UNIT_CHANGED:
                await self._record("price_unit", refusal.message)
                await self._freeze(UNIT)
                return True
        return False

    async def _rates(self) -> tuple[Mapping[str, Decimal], Decimal | None]:
        """What the network says of each VM; and the price of a compute unit, for those it says nothing of."""
        told: Mapping[str, Decimal] = {}
        price: Decimal | None = None
        try:
            price = (await self._market.price()).cu_rate
            told = await self._market.rates(self._treasury.payer) if self._treasury.payer else {}
        except NetworkTrouble as trouble:
            log.info("reprice: %s", trouble)
        return told, price

    async def _grew_in_an_earlier_life(self, now: datetime) -> bool:
        """Which may have died before it looked whether that is too much."""
        moved = await self._inventory.ledger(_LOOKS_BACK) if self._first else []
        return any(movement.cause == REPRICED and movement.at > now - DAY for movement in moved)

    async def _look_for_overrun(self, now: datetime) -> None:
        limits, bound = self._treasury.limits, await self._inventory.exposure("", now)
        day, burn = limits.max_daily_spend_units, limits.max_hourly_burn_units
        spent = bound.spent_day_units + bound.reserved_units
        if (day is not None and spent > day) or (burn is not None and bound.burn_units_per_hour > burn):
            text = (
                f"{money.show(spent)} are spent or reserved, {money.show(bound.burn_units_per_hour)} per hour"
            )
            await self._record("overrun", f"{OVERRUN}: {text}")
            await self._freeze(OVERRUN)

    # ------------------------------------------------------------------ what people see

    def alerts(self) -> list[str]:
        """That the books and the network disagree, in words."""
        return [f"{self._words()}. See: aleph-agentctl spend"] if self._seen.drifts else []

    def figures(self) -> dict[str, Any]:
        """The last comparison."""
        seen = self._seen
        compared = bool(seen.at.timestamp())
        percent = round(seen.off * 100 / seen.ours, 1) if seen.ours else 0.0
        return {
            "at": iso(seen.at) if compared else None,
            "vms": len(seen.lines),
            "untold": seen.untold,
            "ours_credits": money.in_credits(seen.ours),
            "network_credits": money.in_credits(seen.told),
            "drift_percent": percent,
            "late_credits": money.in_credits(self._late_units),
            "trouble": self.trouble,
        }

    async def _record(self, kind: str, text: str) -> None:
        try:
            await self._inventory.record(kind, "", text, self._clock.now())
        except StoreTrouble as trouble:
            log.warning("this event was not kept: %s (%s)", text, trouble)


def _of(vms: list[Vm], told: Mapping[str, Decimal], price: Decimal | None) -> dict[str, Decimal]:
    """A rate for each VM: what the network says of it, else the live price of its size."""
    by_price = {} if price is None else {vm.item_hash: price * vm.compute_units for vm in vms}
    return by_price | {vm.item_hash: told[vm.item_hash] for vm in vms if vm.item_hash in told}
