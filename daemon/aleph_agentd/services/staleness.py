"""Rows that the network does not list: believed only after three looks that agree."""

import logging
from collections.abc import Iterable

from ..domain.clock import Clock
from ..domain.model import LEASED, Vm
from ..domain.reconcile import STALE
from ..ports import Inventory, Messages, MessageStatus, NetworkTrouble, StaleRow

log = logging.getLogger(__name__)

OBSERVATIONS = 3
AT_ONCE = 20
"""Rows that one sweep asks the network about."""


class Staleness:
    """Counts agreeing observations: a complete listing without the VM, and a `/status` that says the same."""

    def __init__(self, inventory: Inventory, messages: Messages, clock: Clock) -> None:
        self._inventory, self._messages, self._clock = inventory, messages, clock
        self._seen: dict[str, tuple[str, int]] = {}
        """By hash: what was said, and how often in a row."""

    async def look(self, missing: Iterable[Vm], back: Iterable[Vm]) -> tuple[Vm, ...]:
        """One more observation of each; those that are proven to be forgotten. Flags the unknown ones."""
        for vm in back:
            await self._flag(vm, "")
        leased = {vm.item_hash: vm for vm in missing if vm.state in LEASED}
        self._seen = {item_hash: seen for item_hash, seen in self._seen.items() if item_hash in leased}
        # The flagged ones last: what is not known yet is asked first.
        ordered = sorted(leased.values(), key=lambda vm: (vm.warned == STALE, vm.item_hash))
        return tuple([vm for vm in ordered[:AT_ONCE] if await self._forgotten(vm)])

    async def _forgotten(self, vm: Vm) -> bool:
        try:
            status = await self._messages.status(vm.item_hash)
        except NetworkTrouble:
            return False  # says nothing, neither for nor against
        said = "forgotten" if status.billing_ended else status.value
        before, times = self._seen.get(vm.item_hash, ("", 0))
        times = times + 1 if before == said else 1
        self._seen[vm.item_hash] = (said, times)
        if times < OBSERVATIONS:
            return False
        if status is MessageStatus.UNKNOWN and vm.warned != STALE:
            await self._flag(vm, STALE)
        return status.billing_ended

    async def _flag(self, vm: Vm, flag: str) -> None:
        """A 404 never closes a row, it flags it (rules.md 2)."""
        now, text = (
            self._clock.now(),
            "the network does not know it" if flag else "the network knows it again",
        )
        try:
            await self._inventory.note(vm.item_hash, states=LEASED, warned=flag)
        except StaleRow:
            return
        log.warning("%s (%s): %s", vm.name, vm.item_hash[:12], text)
        await self._inventory.record(STALE, vm.item_hash, f"{vm.name}: {text}", now)
