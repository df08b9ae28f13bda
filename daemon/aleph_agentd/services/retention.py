"""Once a day: tombstones that nobody has to watch any more go, and old movements of money are summed up."""

import logging
from datetime import timedelta

from ..domain.clock import Clock
from ..domain.model import Vm, VmState
from ..ports import Inventory, Messages, MessageStatus, NetworkTrouble, StaleRow
from .restoration import Restoration
from .teardown import Teardown

log = logging.getLogger(__name__)

INTERVAL_S = 86_400
TOMBSTONES = timedelta(days=30)
"""So long a rejected message may come to life (rules.md 2)."""
MOVEMENTS = timedelta(days=400)
"""A year, and time to look back on it."""
BATCH, BATCHES = 200, 25
"""So that nobody waits long for the inventory, and a backlog of years is worked off in days."""
_LAST_LOOKS = 50


class Retention:
    """Never touches what lives, is stuck, or is not proven to be over."""

    def __init__(
        self,
        inventory: Inventory,
        messages: Messages,
        clock: Clock,
        teardown: Teardown,
        restoration: Restoration,
    ) -> None:
        self._inventory, self._messages, self._clock = inventory, messages, clock
        self._teardown, self._restoration = teardown, restoration

    async def run(self) -> None:
        """One bounded pass; what is left goes with the next one."""
        if self._restoration.pending:
            return  # a row that looks superfluous may be all that is left
        rows = await self._bury()
        movements = await self._sum_up()
        if rows or movements:
            text = f"{rows} tombstones were removed, {movements} movements of money were summed up"
            log.info("%s", text)
            await self._inventory.record("retention", "", text, self._clock.now())

    async def _bury(self) -> int:
        before, removed, looks = self._clock.now() - TOMBSTONES, 0, _LAST_LOOKS
        for _ in range(BATCHES):
            found = await self._inventory.outlived(before, BATCH)
            over = []
            for vm in found:
                if vm.state is VmState.FAILED and vm.broadcast_at and not vm.forgotten_at:
                    if looks == 0:
                        continue
                    looks -= 1
                    if not await self._is_over(vm):
                        continue
                over.append(vm.item_hash)
            if not over:
                break
            removed += await self._inventory.remove(over, before)
        return removed

    async def _is_over(self, vm: Vm) -> bool:
        """The last look at bytes that may have left and were never seen forgotten."""
        try:
            status = await self._messages.status(vm.item_hash)
            if not status.on_network:
                return status is not MessageStatus.PENDING
            self._teardown.start(await self._teardown.revive(vm, "the network lists it again"))
        except NetworkTrouble as trouble:
            log.info("%s is kept: %s", vm.item_hash[:12], trouble)
        except StaleRow:
            pass
        return False

    async def _sum_up(self) -> int:
        before, summed = self._clock.now() - MOVEMENTS, 0
        for _ in range(BATCHES):
            went = await self._inventory.sum_up(before, BATCH)
            summed += went
            if not went:
                break
        return summed
