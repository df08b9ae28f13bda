"""Closes the ports that a VM left open when it ended. Its own timer: no end of a VM waits for it.

What is left to do is read from the payer's aggregate, so that it goes on after a crash, and when a change that
was on its way arrives after the end.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..domain.clock import Clock
from ..domain.model import TOMBSTONES, Vm, VmState
from ..ports import Inventory, KeyMissing, Messages, NetworkTrouble
from .forwarding import Forwarding
from .treasury import Treasury

log = logging.getLogger(__name__)

INTERVAL_S = 30
MOST_TRIES = 10
"""In one life of the daemon, each after twice the time of the one before: the last one is hours after the first."""
_AT_ONCE = 20
_FIRST_PAUSE = timedelta(seconds=30)
_ANYWAY = timedelta(hours=1)
_ENDED = tuple(sorted(TOMBSTONES | {VmState.DESTROYING}))


@dataclass(frozen=True)
class Tries:
    """How often a VM's entry was tried, and when it may be tried again."""

    count: int
    next_at: datetime


class PortCloser:
    """Looks whenever VMs have ended, and once an hour."""

    def __init__(
        self,
        inventory: Inventory,
        messages: Messages,
        clock: Clock,
        treasury: Treasury,
        forwarding: Forwarding,
    ) -> None:
        self._inventory, self._messages, self._clock = inventory, messages, clock
        self._treasury, self._forwarding = treasury, forwarding
        self._tries: dict[str, Tries] = {}
        self._seen = -1
        """How many had ended at the last look that left nothing to do; -1: look."""
        self._looked_at: datetime | None = None

    async def run(self) -> None:
        """One look; what fails is tried again later."""
        now, payer = self._clock.now(), self._treasury.payer
        if not payer:
            return
        ended = await self._inventory.count(_ENDED)
        if ended == self._seen and self._looked_at and now - self._looked_at < _ANYWAY:
            return
        try:
            left = await self._left(payer)
        except NetworkTrouble as trouble:
            log.info("the open ports of VMs that ended are not known now: %s", trouble)
            return
        self._tries = {vm.item_hash: self._tries[vm.item_hash] for vm in left if vm.item_hash in self._tries}
        self._looked_at = now
        self._seen = -1 if any(self._may_try(vm) for vm in left) else ended
        for vm in [vm for vm in left if self._is_due(vm, now)][:_AT_ONCE]:
            await self._close(vm, now)

    async def _left(self, payer: str) -> list[Vm]:
        """The VMs that ended and still have an entry."""
        rows = await self._inventory.known(sorted(await self._messages.forwards(payer)))
        return [vm for vm in rows.values() if vm.state in _ENDED and vm.payer == payer]

    def _may_try(self, vm: Vm) -> bool:
        tries = self._tries.get(vm.item_hash)
        return tries is None or tries.count < MOST_TRIES

    def _is_due(self, vm: Vm, now: datetime) -> bool:
        tries = self._tries.get(vm.item_hash)
        return self._may_try(vm) and (tries is None or tries.next_at <= now)

    async def _close(self, vm: Vm, now: datetime) -> None:
        count = self._tries[vm.item_hash].count + 1 if vm.item_hash in self._tries else 1
        self._tries[vm.item_hash] = Tries(count, now + _FIRST_PAUSE * 2 ** (count - 1))
        try:
            await self._forwarding.close_all(vm)
        except KeyMissing as missing:
            log.info("the ports of %s (%s) wait for the key: %s", vm.name, vm.item_hash[:12], missing)
            del self._tries[vm.item_hash]
        except NetworkTrouble as trouble:
            log.info("the ports of %s (%s), try %d: %s", vm.name, vm.item_hash[:12], count, trouble)
        if count == MOST_TRIES:
            log.warning(
                "the entry of %s in %s's port-forwarding stays: it was tried %d times",
                vm.item_hash,
                vm.payer,
                count,
            )
