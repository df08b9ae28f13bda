"""An inventory that was lost or put back from an old copy: nothing new until it knows again what it did (rules.md 7).

Stamps, published extensions and what the payer was billed for in the last 24 hours are folded in from the
network. Until all three are known completely, creates and extends are refused, and no sweep ends anything.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from ..domain.clock import Clock
from ..domain.errors import Unavailable
from ..domain.model import LEASED, Expense, PublishedEnd, Restored, Vm
from ..domain.reconcile import UNREADABLE_GRACE, Findings
from ..ports import (
    Inventory,
    KeyMissing,
    Market,
    Messages,
    NetworkTrouble,
    Signer,
    StartCounter,
    StoreTrouble,
)
from .repairs import Repairs
from .treasury import Treasury

log = logging.getLogger(__name__)

DAY = timedelta(hours=24)
COUNT_S = 3600
_ROWS = 100_000
_ASKED = 64


class Restoration:
    """Notices the loss at the start of the daemon, and undoes it in its sweeps."""

    def __init__(
        self,
        inventory: Inventory,
        messages: Messages,
        market: Market,
        signer: Signer,
        clock: Clock,
        counter: StartCounter,
        repairs: Repairs,
        treasury: Treasury,
    ) -> None:
        self._inventory, self._messages, self._market, self._signer = inventory, messages, market, signer
        self._clock, self._counter, self._repairs, self._treasury = clock, counter, repairs, treasury
        self._uncounted = "its starts were not counted yet"
        self._mark: Restored | None = None
        self._waits_for = "the next sweep"
        self._ends_known = False
        self._looked = asyncio.Event()
        self.voids: list[Callable[[str], Awaitable[object]]] = []
        """What was said yes to before holds no more: each is called with the reason."""

    @property
    def pending(self) -> str:
        """Why the inventory is not to be relied on; empty when it is."""
        return self._mark.why if self._mark else self._uncounted

    # ------------------------------------------------------------------ noticing

    async def begin_life(self) -> None:
        """Count this start, in the inventory and beside it. What cannot be counted is unknown, and refuses."""
        try:
            await self._begin_life()
        finally:
            self._looked.set()

    async def looked(self) -> None:
        """Wait for the first count of this life: who calls while the daemon starts is not refused for that."""
        await self._looked.wait()

    async def _begin_life(self) -> None:
        try:
            await self._count()
        except (OSError, StoreTrouble) as trouble:
            self._uncounted = f"its starts cannot be counted: {trouble}"
            log.error("%s", self._uncounted)
            return
        self._uncounted, self._mark = "", await self._inventory.restored()
        if self._mark:
            log.error("the inventory was lost or put back: %s", self._mark.why)
            await self._void(self._mark.why)

    async def _count(self) -> None:
        now = self._clock.now()
        try:
            counted = await self._counter.read()
        except ValueError as damage:
            await self._inventory.mark_restored(str(damage), now)
            counted = await self._inventory.starts()
        if counted is None and await self._inventory.starts() is None:
            # First beside it: if this start is cut, the next one must not take the new count for a stray.
            await self._counter.write(0)
            counted = 0
        # Then in it, then beside it: whenever it is cut, the one beside it is not ahead.
        await self._counter.write(await self._inventory.count_start(counted, now))

    async def count_on(self) -> None:
        """Count in a long life too: a copy that was made in it and put back in the next one is an old one then."""
        if self._uncounted:
            return
        try:
            await self._count()
        except (OSError, StoreTrouble) as trouble:
            log.warning("this hour is not counted: %s", trouble)
            return
        self._mark = self._mark or await self._inventory.restored()

    async def begin(self, why: str) -> None:
        """The network shows that rows were lost."""
        if self._mark is None:
            self._mark, self._ends_known = await self._inventory.mark_restored(why, self._clock.now()), False
            await self._void(why)
            log.error("the inventory was lost or put back: %s", why)

    async def _void(self, why: str) -> None:
        self._treasury.void_quotes()
        for void in self.voids:
            await void(f"the inventory was lost or put back: {why}")

    # ------------------------------------------------------------------ meanwhile

    def check(self) -> None:
        """Raises Unavailable while something may have been rented, extended or spent that has no row."""
        if self.pending:
            raise Unavailable(
                f"{self._what()}, and that waits for {self._waits_for}.",
                "Nothing is created or extended until then; VMs still end on time, and can be destroyed."
                " Try again in a minute; the owner sees more with aleph-agentctl status, and looks at once with"
                " aleph-agentctl recover",
                code="inventory_restored",
            )

    def alerts(self) -> list[str]:
        """What is frozen, and what it waits for, in words."""
        if not self.pending:
            return []
        return [
            f"{self._what()}: nothing is created or extended meanwhile; waiting for {self._waits_for}."
            " To look now: aleph-agentctl recover"
        ]

    def _what(self) -> str:
        if self._mark is None:
            return f"Whether the inventory is the newest one has to be found out ({self._uncounted})"
        return (
            f"The inventory was lost or put back from an old copy ({self._mark.why}); what was rented and spent since"
            " is read from the network"
        )

    def spares(self) -> bool:
        """Whether leases that are over may have been extended after the copy was made: for an hour at most."""
        if self._mark is None or self._ends_known:
            return False
        return self._clock.now() < self._mark.since + UNREADABLE_GRACE

    async def still_billed(self, live: list[Vm]) -> list[Vm]:
        """Rows without those whose VMs have ended since the copy was made: no listing names these any more."""
        ended = set[str]()
        for vm in live[:_ASKED] if self._mark else []:
            try:
                if (await self._messages.status(vm.item_hash)).billing_ended:
                    ended.add(vm.item_hash)
            except NetworkTrouble:
                break
        return [vm for vm in live if vm.item_hash not in ended]

    # ------------------------------------------------------------------ undoing

    async def fold_in(self, findings: Findings) -> Findings:
        """Take in what a complete listing and the network's other answers tell; done only if all of it was told."""
        if self._uncounted:
            await self.begin_life()
        if findings.lost:
            await self.begin(
                "the network lists VMs that this installation made, and there are no rows for them"
            )
        if self._mark is None:
            return findings
        try:
            return await self._fold_in(findings)
        except StoreTrouble as trouble:
            self._wait("room in the inventory", trouble)
            return findings

    async def _fold_in(self, findings: Findings) -> Findings:
        try:
            ends = await self._messages.published_ends(self._signer.address)
        except (NetworkTrouble, KeyMissing) as trouble:
            self._wait("the published extensions", trouble)
            return await self._repairs.take_in(findings, None)
        await self._move_on(ends)
        self._ends_known = True
        findings = await self._repairs.take_in(findings, ends)
        if findings.lost:
            self._wait("a price for the VMs that have no rows yet", "some could not be taken in")
            return findings
        try:
            expenses = await self._expenses()
        except (NetworkTrouble, KeyMissing) as trouble:
            self._wait("the payer's expenses of the last 24 hours", trouble)
            return findings
        units = await self._inventory.count_in(expenses, self._clock.now())
        log.warning("the inventory is whole again; %d units of the last 24 h had no row", units)
        self._mark = None
        return findings

    async def _move_on(self, ends: Mapping[str, PublishedEnd]) -> None:
        """Leases that were extended after the copy was made."""
        for vm in await self._inventory.page(states=sorted(LEASED), limit=_ROWS):
            end = ends.get(vm.item_hash)
            if end is not None and end.n >= vm.lease_version:
                await self._inventory.follow(vm.item_hash, end, self._clock.now())

    async def _expenses(self) -> list[Expense]:
        """Those of the payer's that may be ours: a payer may have other agents, and machines of its own."""
        payer = self._treasury.payer
        if not payer:
            raise KeyMissing("there is no payer")
        booked = await self._market.expenses(payer, self._clock.now() - DAY)
        hashes = {expense.item_hash for expense in booked} - {""}
        rows = await self._inventory.known(sorted(hashes))
        foreign = set()
        for item_hash in sorted(hashes - rows.keys()):
            sender = await self._messages.sender(item_hash)
            if sender is not None and sender != self._signer.address:
                foreign.add(item_hash)
        return [expense for expense in booked if expense.item_hash not in foreign]

    def _wait(self, what: str, why: object) -> None:
        self._waits_for = what
        log.warning("the inventory waits for %s: %s", what, why)
