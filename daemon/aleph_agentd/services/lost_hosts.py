"""CRNs that do not answer: are they still on the CRN list, and at which address?"""

import logging
from typing import Any

from ..domain.clock import Clock
from ..domain.model import Crn, Vm
from ..ports import Inventory, Market, NetworkTrouble

log = logging.getLogger(__name__)


class LostHosts:
    """Keeps in the row since when a VM's CRN is missing, so that the wait for it has an end (rules.md 1)."""

    def __init__(self, inventory: Inventory, market: Market, clock: Clock) -> None:
        self._inventory, self._market, self._clock = inventory, market, clock

    async def look(self, vm: Vm) -> Vm:
        """The row with what the list says now. No list, or an empty one, says nothing."""
        try:
            crns = (await self._market.crns()).crns
        except NetworkTrouble as trouble:
            log.info("whether the CRN of %s is still listed is not known: %s", vm.name, trouble)
            return vm
        if not crns:
            return vm
        if (crn := _of(vm, crns)) is not None:
            return await self._note(vm, crn_url=crn.url, host_lost_at=None)
        return await self._note(vm, host_lost_at=vm.host_lost_at or self._clock.now())

    async def _note(self, vm: Vm, **facts: Any) -> Vm:
        if all(getattr(vm, name) == value for name, value in facts.items()):
            return vm
        return await self._inventory.note(vm.item_hash, **facts)


def _of(vm: Vm, crns: tuple[Crn, ...]) -> Crn | None:
    """Its CRN; an imported row may know the address alone."""
    if vm.crn_hash:
        return next((crn for crn in crns if crn.hash == vm.crn_hash), None)
    return next((crn for crn in crns if crn.url == vm.crn_url), None)
