"""One full pass network ↔ inventory: look, tell, and let the repairs act on it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ..domain.clock import Clock
from ..domain.model import LIVE, Vm, VmState
from ..domain.reconcile import Findings, compare, notable
from ..ports import Inventory, Messages, NetworkTrouble, Signer
from .jobs import Jobs
from .repairs import Repairs
from .restoration import Restoration

log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 500
_SESSIONS = 1000
_FIRST_LOOK_S = 5.0


class Sweeper:
    """Finds orphans, stale rows and tombstones that live; keeps the last findings for every answer."""

    def __init__(
        self,
        inventory: Inventory,
        messages: Messages,
        signer: Signer,
        clock: Clock,
        jobs: Jobs,
        repairs: Repairs,
        restoration: Restoration,
        installation: str,
        grace_s: float,
    ) -> None:
        self._inventory, self._messages, self._signer, self._clock = inventory, messages, signer, clock
        self._jobs, self._installation, self._grace = jobs, installation, timedelta(seconds=grace_s)
        self._repairs, self._restoration = repairs, restoration
        self.alarm: Callable[[str], Awaitable[object]] = _nobody
        """Told when a sweep would have ended too many at once."""
        self._greeted: dict[str, None] = {}
        self.before: list[Callable[[], Awaitable[None]]] = []
        """What else is looked at with every sweep, before it."""
        self.findings = Findings(datetime.fromtimestamp(0, UTC), trouble="no sweep has run yet")

    async def first_look(self, session: str) -> list[str]:
        """On a session's first call: a sweep, waited for only briefly. Returns what it could not see."""
        if session in self._greeted:
            return []
        self._greeted[session] = None
        while len(self._greeted) > _SESSIONS:
            del self._greeted[next(iter(self._greeted))]
        await asyncio.wait({self._jobs.start("sweep", self._sweep)}, timeout=_FIRST_LOOK_S)
        return [f"Orphans were not looked for: {self.findings.trouble}"] if self.findings.trouble else []

    async def run(self) -> None:
        """One pass; two callers at once share it."""
        await self._jobs.start("sweep", self._sweep)

    async def run_anyway(self) -> None:
        """One pass of its own, that ends also many VMs at once: a human has decided so."""
        if running := self._jobs.running("sweep"):
            await asyncio.wait({running})
        await self._jobs.start("sweep", lambda: self._sweep(anyway=True))

    async def _sweep(self, *, anyway: bool = False) -> None:
        for look in self.before:
            await look()
        before, self.findings = self.findings, await self._look()
        known = {orphan.item_hash for orphan in before.orphans} | {vm.item_hash for vm in before.undead}
        now = self._clock.now()
        for orphan in self.findings.orphans:
            if orphan.item_hash not in known:
                await self._inventory.record("orphan", orphan.item_hash, "under our key, without a row", now)
        for vm in self.findings.undead:
            if vm.item_hash not in known:
                await self._inventory.record(
                    "undead", vm.item_hash, f"{vm.name} was {vm.state}, and is on the network", now
                )
        if self.findings.trouble:
            log.warning("sweep: %s", self.findings.trouble)
            return
        self.findings = await self._restoration.fold_in(self.findings)
        if self._restoration.pending:
            return  # what it lacks may be why something looks wrong
        self.findings = await self._repairs.run(self.findings, anyway=anyway)
        if self.findings.halted:
            log.error("sweep halted: %s", self.findings.halted)
            await self.alarm(f"a sweep was stopped: {self.findings.halted}")

    async def _look(self) -> Findings:
        now = self._clock.now()
        if self._signer.trouble:
            return replace(self.findings, at=now, trouble=f"no key: {self._signer.trouble}")
        sender = self._signer.address
        try:
            # The network first: a VM created in between is then known to the inventory.
            listing = await self._messages.instances(sender)
        except NetworkTrouble as trouble:
            # What was seen last stays: it is still the best guess, and it counts against the limits.
            return replace(self.findings, at=now, trouble=f"the network could not be listed: {trouble}")
        known, rows = await self._rows({item.item_hash for item in listing if item.sender == sender})
        if not listing:
            rows = await self._restoration.still_billed(rows)
        seen = compare(
            listing, known, rows, installation=self._installation, sender=sender, now=now, grace=self._grace
        )
        if seen.trouble:
            return replace(self.findings, at=now, trouble=seen.trouble)
        empty = bool(seen.strangers) and not await self._inventory.count(list(VmState))
        return replace(seen, empty_inventory=empty)

    async def _rows(self, listed: set[str]) -> tuple[set[str], list[Vm]]:
        """Which of the listed hashes have a row, and the rows to be looked at: mostly few of very many."""
        known, rows, after = set[str](), list[Vm](), ""
        while page := await self._inventory.page(states=sorted(LIVE), limit=_ROWS_AT_ONCE, after=after):
            known |= listed & {vm.item_hash for vm in page}
            rows += [vm for vm in page if notable(vm, listed)]
            after = page[-1].item_hash
        rest = await self._inventory.known(sorted(listed - known))
        return known | rest.keys(), [*rows, *rest.values()]


async def _nobody(_: str) -> None:
    return
