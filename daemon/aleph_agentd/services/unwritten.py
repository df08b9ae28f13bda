"""Teardown while the inventory cannot be written, as on a full disk: VMs end all the same.

What was ordered and seen meanwhile is kept in memory and written down as soon as there is room. If the
daemon dies before, the rows say less than is true, and the next pass asks the network again.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ..domain.clock import Clock
from ..domain.model import LEASED, Vm, VmState
from ..ports import (
    EraseOutcome,
    Hosts,
    Inventory,
    KeyMissing,
    Messages,
    NetworkTrouble,
    StaleRow,
    StoreTrouble,
)
from .kill_switches import pull

log = logging.getLogger(__name__)

_AGAIN = timedelta(seconds=20)
"""Between two tries to end one VM; whether there is room again is asked more often."""


@dataclass
class _Kept:
    """What the row of one VM does not say yet."""

    why: str
    """Why it could not be written."""
    cause: str = ""
    """Of an order to end it; empty when that is in the row already."""
    ordered_at: datetime | None = None
    forgotten_at: datetime | None = None
    erased: bool = False
    again_at: datetime | None = None


class Unwritten:
    """Ends VMs by their kill switches, and remembers what the inventory has to be told."""

    def __init__(self, inventory: Inventory, messages: Messages, hosts: Hosts, clock: Clock) -> None:
        self._inventory, self._messages, self._hosts, self._clock = inventory, messages, hosts, clock
        self._kept: dict[str, _Kept] = {}

    @property
    def hashes(self) -> tuple[str, ...]:
        """The VMs whose rows are behind."""
        return tuple(self._kept)

    def seen(self, vm: Vm) -> Vm:
        """A row with what it does not say yet laid over it."""
        kept = self._kept.get(vm.item_hash)
        if kept is None:
            return vm
        return replace(
            vm,
            state=VmState.DESTROYING,
            cause=kept.cause or vm.cause,
            destroy_at=vm.destroy_at or kept.ordered_at,
            forgotten_at=vm.forgotten_at or kept.forgotten_at,
            last_error=kept.why[:500],
        )

    async def order(self, item_hash: str, cause: str, lease_version: int | None, trouble: StoreTrouble) -> Vm:
        """Remember that a VM ends; its row as it should be. Raises the trouble when there is no row to read."""
        vm = await self._inventory.get(item_hash)
        if vm is None:
            raise trouble
        if vm.state not in LEASED or lease_version not in (None, vm.lease_version):
            return vm
        if item_hash not in self._kept:
            log.error("tearing down %s (%s) unwritten: %s; %s", vm.name, item_hash[:12], cause, trouble)
            self._kept[item_hash] = _Kept(str(trouble), cause, self._clock.now())
        return self.seen(vm)

    async def write_down(self, item_hash: str) -> None:
        """Bring the row up to date. Raises StoreTrouble while that is not possible."""
        kept, now = self._kept.get(item_hash), self._clock.now()
        if kept and kept.cause:
            facts: dict[str, Any] = {"destroy_at": kept.ordered_at, "next_attempt_at": now, "attempts": 0}
            with suppress(StaleRow):  # it is ending, or over, already
                await self._inventory.move(item_hash, VmState.DESTROYING, kept.cause, now, **facts)
            kept.cause = ""
        if kept and kept.forgotten_at:
            why = "the network ended it while the inventory could not be written"
            await self._inventory.settle(
                item_hash, why, now, forgotten_at=kept.forgotten_at, unknown_since=None
            )
            kept.forgotten_at = None

    def written(self, item_hash: str) -> None:
        """A pass was written: nothing has to be remembered of it."""
        self._kept.pop(item_hash, None)

    async def end(self, item_hash: str, trouble: StoreTrouble) -> Vm | None:
        """One pass without writing: end the billing, then ask the CRN to erase. The row as it should be."""
        vm = await self._inventory.get(item_hash)
        if vm is None or (vm.state is not VmState.DESTROYING and item_hash not in self._kept):
            return vm
        kept = self._kept.setdefault(item_hash, _Kept(str(trouble)))
        if kept.again_at is None or self._clock.now() >= kept.again_at:
            kept.why, kept.again_at = str(trouble), self._clock.now() + _AGAIN
            try:
                await self._try(vm, kept)
            except (NetworkTrouble, KeyMissing) as why:
                kept.why = f"{why}; {trouble}"
                log.warning("unwritten teardown of %s (%s): %s", vm.name, item_hash[:12], why)
        return self.seen(vm)

    async def _try(self, vm: Vm, kept: _Kept) -> None:
        # Without `broadcast_at` its bytes have never left: there is nothing to end.
        if vm.broadcast_at is not None and vm.forgotten_at is None and kept.forgotten_at is None:
            switches = await self._inventory.forgets(vm.item_hash)
            status = await pull(self._messages, vm.item_hash, switches)
            if not status.billing_ended:
                raise NetworkTrouble("FORGET", f"the network says {status}")
            kept.forgotten_at = self._clock.now()
            log.error("%s (%s): the network says %s, unwritten", vm.name, vm.item_hash[:12], status)
        if vm.erased_at is None and not kept.erased:
            kept.erased = await self._hosts.erase(vm.crn_url, vm.item_hash) is not EraseOutcome.REFUSED
