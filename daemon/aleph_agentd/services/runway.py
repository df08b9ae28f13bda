"""How long the payer's balance lasts, and what happens when that is not long.

Told once at 24 hours and once at 6. Below `teardown_below_runway_minutes`, if the owner has set it, the VM whose
lease ends next goes first, and the next one only when that one's billing has ended and the balance still does not
last. An unknown balance or burn ends nothing, and two looks in a row must agree. One balance that is told wrongly must
not cost everything: in one spell of low balance at most `MOST_ENDED` VMs, or half of them, are ended; then it
stops and asks the owner, who can raise the balance, destroy VMs, or leave it to their leases. A restart is no new
spell: what was ended is told by events, each of them written before its teardown is ordered.
"""

import logging
from datetime import datetime
from typing import Any

from ..domain import money
from ..domain.clock import Clock, span
from ..domain.counting import be, counted
from ..domain.errors import Unavailable
from ..domain.model import LEASED, Vm
from ..domain.reconcile import MOST_ENDED
from ..ports import Inventory, StoreTrouble
from .teardown import Teardown
from .treasury import Treasury

log = logging.getLogger(__name__)

INTERVAL_S = 60.0
LEVELS_S = (24 * 3600, 6 * 3600)
_AGREE = 2
_LISTED = 1000
_LOOKS_BACK = 10_000
"""Events."""
ENDED, LASTS_AGAIN = "ended_for_balance", "balance_lasts"


class Runway:
    """Looks every minute."""

    def __init__(self, inventory: Inventory, treasury: Treasury, teardown: Teardown, clock: Clock) -> None:
        self._inventory, self._treasury, self._teardown, self._clock = inventory, treasury, teardown, clock
        self.left_s: int | None = None
        """How long the balance lasts; None when that is not known, or nothing is burnt."""
        self._level = 0
        self._low_looks = 0
        self._ended: dict[str, None] = {}
        self._remembers = False
        self._most = 0
        self._halted = False
        self._at: datetime | None = None

    async def run(self) -> None:
        """One look."""
        try:
            balance = await self._treasury.balance()
            exposure = (await self._treasury.overview("")).exposure
        except (Unavailable, StoreTrouble) as trouble:
            self.left_s, self._low_looks = None, 0
            log.info("the runway is not known: %s", trouble)
            return
        burn = max(exposure.burn_units_per_hour, await self._treasury.network_hourly())
        self._at, self.left_s = self._clock.now(), runway_s(balance, burn)
        await self._tell(balance)
        await self._shorten()

    async def _tell(self, balance: int) -> None:
        """An event at each level, when it is crossed downwards."""
        left = self.left_s
        level = sum(left is not None and left < limit for limit in LEVELS_S)
        if level > self._level and left is not None:
            text = f"the balance of {money.show(balance)} lasts {span(left)} at the present burn; buy credits at {money.BUY_CREDITS_URL}"
            log.warning("%s", text)
            await self._inventory.record("low_balance", "", text, self._clock.now())
        self._level = level

    async def _shorten(self) -> None:
        limit, left = self._treasury.limits.teardown_below_runway_minutes, self.left_s
        if limit is None or left is None or left >= limit * 60:
            self._low_looks, self._halted, self._most = 0, False, 0
            if limit is not None:
                await self._end_the_spell()
            return
        self._low_looks += 1
        leased = await self._inventory.page(states=sorted(LEASED), limit=_LISTED)
        if self._low_looks < _AGREE or not leased:
            return
        await self._remember()
        cut = [vm for vm in leased if vm.item_hash in self._ended]
        if not cut and await self._one_is_ending():
            return
        self._most = self._most or max(1, min(MOST_ENDED, (len(leased) + len(self._ended)) // 2))
        if not cut and len(self._ended) >= self._most:
            self._halted = True
            return
        await self._end(min(cut or leased, key=lambda vm: vm.expires_at), left)

    async def _remember(self) -> None:
        """What an earlier life of the daemon ended in this spell."""
        if self._remembers:
            return
        last = await self._inventory.last_event_id()
        for event in await self._inventory.events(max(0, last - _LOOKS_BACK), _LOOKS_BACK):
            if event.kind == ENDED:
                self._ended[event.item_hash] = None
            elif event.kind == LASTS_AGAIN:
                self._ended.clear()
        self._remembers = True

    async def _end_the_spell(self) -> None:
        await self._remember()
        if self._ended:
            text = "the balance lasts again, or nothing costs anything any more"
            await self._inventory.record(LASTS_AGAIN, "", text, self._clock.now())
            self._ended.clear()

    async def _one_is_ending(self) -> bool:
        return any(vm.billing for vm in (await self._inventory.known(list(self._ended))).values())

    async def _end(self, vm: Vm, left: int) -> None:
        cause = f"the balance lasts only {span(left)}"
        if vm.item_hash not in self._ended:
            self._ended[vm.item_hash] = None
            await self._tell_of(vm, cause)
        self._teardown.start(await self._teardown.order(vm.item_hash, cause))

    async def _tell_of(self, vm: Vm, cause: str) -> None:
        try:
            await self._inventory.record(ENDED, vm.item_hash, f"{vm.name}: {cause}", self._clock.now())
        except StoreTrouble as trouble:
            log.warning("that %s ends was not kept as an event: %s", vm.name, trouble)

    # ------------------------------------------------------------------ what people see

    def words(self) -> str:
        """For one line; empty while it is not known or nothing is burnt."""
        return "" if self.left_s is None else f"runway {span(self.left_s)}"

    def alerts(self) -> list[str]:
        """That the balance does not last."""
        if self.left_s is None or not self._level:
            return []
        asked = (
            f" {counted(len(self._ended), 'VM')} {be(len(self._ended), 'was', 'were')} ended for it, and no more are without you: aleph-agentctl vms"
            if self._halted
            else ""
        )
        return [
            f"The balance lasts {span(self.left_s)} at the present burn; buy credits at {money.BUY_CREDITS_URL}.{asked}"
        ]

    def figures(self) -> dict[str, Any]:
        """How long it lasts."""
        return {
            "seconds": self.left_s,
            "in_words": "" if self.left_s is None else span(self.left_s),
            "ended": len(self._ended),
            "halted": self._halted,
        }


def runway_s(balance: int, burn_per_hour: int) -> int | None:
    """How many seconds a balance lasts; None when nothing is burnt."""
    return max(0, balance) * 3600 // burn_per_hour if burn_per_hour > 0 else None
