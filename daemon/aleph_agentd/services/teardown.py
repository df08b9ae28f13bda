"""Ending VMs: FORGET until the network confirms, erase until the CRN does not list it, then gone.

Every step is idempotent and its success is stored before the next one, so that a pass can be cut
anywhere and be begun again. Nothing is called done on hope.
"""

import asyncio
import logging
import random
from typing import Any

from ..domain.clock import Clock
from ..domain.leases import CLAIM, GONE_UNVERIFIED, backoff, host_is_lost
from ..domain.model import Vm, VmState
from ..ports import (
    Hosts,
    Inventory,
    KeyMissing,
    Market,
    Messages,
    NetworkTrouble,
    Signer,
    StaleRow,
    StoreTrouble,
)
from .billing_end import BillingEnd
from .erasure import Erasure
from .jobs import Jobs
from .lost_hosts import LostHosts
from .steps import NotYet
from .unwritten import Unwritten

log = logging.getLogger(__name__)


class Teardown:
    """Takes VMs from `destroying` to `gone`."""

    def __init__(
        self,
        inventory: Inventory,
        messages: Messages,
        hosts: Hosts,
        market: Market,
        signer: Signer,
        clock: Clock,
        jobs: Jobs,
    ) -> None:
        self._inventory, self._messages, self._clock, self._jobs = inventory, messages, clock, jobs
        self._unwritten = Unwritten(inventory, messages, hosts, clock)
        self._billing_end = BillingEnd(inventory, messages, signer, clock)
        self._erasure = Erasure(hosts, clock, self._hurry)
        self._lost_hosts = LostHosts(inventory, market, clock)
        self._dice = random.Random()  # noqa: S311 - jitter
        self.attempts = 0
        """Passes over VMs that are to end, in this life of the daemon."""

    async def order(self, item_hash: str, cause: str, *, lease_version: int | None = None) -> Vm:
        """Decide, durably, that a VM ends. From here on nothing but teardown touches it.

        With `lease_version`: only if the lease was not extended meanwhile. Returns the row as it is then.
        """
        now = self._clock.now()
        facts = {"destroy_at": now, "next_attempt_at": now, "attempts": 0}
        try:
            vm = await self._inventory.move(
                item_hash, VmState.DESTROYING, cause, now, lease_version=lease_version, **facts
            )
        except StaleRow as stale:
            return stale.vm
        except StoreTrouble as trouble:
            return await self._unwritten.order(item_hash, cause, lease_version, trouble)
        log.info("tearing down %s (%s): %s", vm.name, item_hash[:12], cause)
        return vm

    def start(self, vm: Vm) -> "asyncio.Task[Vm | None]":
        """Run one pass as a job of the daemon; joins the one that runs."""
        return self._jobs.start(f"teardown:{vm.item_hash}", lambda: self.run(vm.item_hash))

    async def billing_end(self, item_hash: str, seconds: float) -> bool:
        """Run passes until billing has ended, at most this long. False: not confirmed yet; it goes on later."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            vm = await self.row(item_hash)
            if vm is None or not vm.billing:
                return True
            await asyncio.wait({self.start(vm)}, timeout=left)
            vm = await self.row(item_hash)
            if vm is None or not vm.billing:
                return True
            await asyncio.sleep(min(0.5, left))
        return False

    async def row(self, item_hash: str) -> Vm | None:
        """The row, with what could not be written yet."""
        vm = await self._inventory.get(item_hash)
        return vm and self._unwritten.seen(vm)

    async def restart(self) -> None:
        """Teardowns that were postponed are due now: after a start nobody knows why they were."""
        await self._inventory.hurry(self._clock.now())

    async def probe_hosts(self) -> None:
        """See whether CRNs that did not answer are back."""
        await self._erasure.probe()

    async def host_answers(self, url: str) -> None:
        """Somebody has heard from this CRN: what waits for it need not wait longer."""
        await self._erasure.answered(url)

    async def _hurry(self, url: str) -> None:
        if count := await self._inventory.hurry(self._clock.now(), url):
            log.info("%s answers again; %d VMs are to be erased there", url, count)

    async def catch_up(self) -> None:
        """Go on with what could not be written."""
        for item_hash in self._unwritten.hashes:
            if vm := await self._inventory.get(item_hash):
                self.start(vm)

    async def run(self, item_hash: str) -> Vm | None:
        """One pass over one VM: as far as it goes now, and the next attempt noted.

        A store that cannot be written does not hold up the end of a VM.
        """
        try:
            await self._unwritten.write_down(item_hash)
            vm = await self._pass(item_hash)
        except StoreTrouble as trouble:
            return await self._unwritten.end(item_hash, trouble)
        self._unwritten.written(item_hash)
        return vm

    async def _pass(self, item_hash: str) -> Vm | None:
        vm = await self._inventory.get(item_hash)
        if vm is None or (vm.state is not VmState.DESTROYING and vm.state is not VmState.GONE):
            return vm
        self.attempts += vm.state is VmState.DESTROYING
        if vm.next_attempt_at is None or vm.next_attempt_at <= self._clock.now():
            vm = await self._inventory.note(item_hash, next_attempt_at=self._clock.now() + CLAIM)
        try:
            if vm.state is VmState.GONE:
                return await self._verify(vm)
            if vm.forgotten_at is None:
                vm = await self._billing_end.run(vm)
            if vm.state is VmState.DESTROYING:
                vm = await self._erase(vm)
            return vm
        except (NotYet, NetworkTrouble, KeyMissing) as why:
            return await self._postpone(vm, why)
        except StaleRow as stale:
            return stale.vm

    async def _erase(self, vm: Vm) -> Vm:
        try:
            await self._erasure.run(vm)
        except NetworkTrouble:
            vm = await self._lost_hosts.look(vm)
            if not host_is_lost(vm, self._clock.now()):
                raise
            return await self._bury(vm, warned=GONE_UNVERIFIED)
        return await self._bury(vm, erased_at=vm.erased_at or self._clock.now())

    async def _bury(self, vm: Vm, **facts: Any) -> Vm:
        now = self._clock.now()
        ended = {"ended_at": now, "next_attempt_at": None, "last_error": "", **facts}
        return await self._inventory.move(vm.item_hash, VmState.GONE, vm.cause, now, **ended)

    async def _postpone(self, vm: Vm, why: Exception) -> Vm:
        now = self._clock.now()
        if isinstance(why, NotYet) and why.retry_in is not None:
            return await self._inventory.note(
                vm.item_hash, next_attempt_at=now + why.retry_in, last_error=str(why)
            )
        attempts = vm.attempts + 1
        log.warning("teardown of %s (%s), attempt %d: %s", vm.name, vm.item_hash[:12], attempts, why)
        return await self._inventory.note(
            vm.item_hash,
            attempts=attempts,
            last_error=str(why)[:500],
            next_attempt_at=now + backoff(attempts, self._dice.random(), billing=vm.billing),
        )

    async def _verify(self, vm: Vm) -> Vm:
        """Look again after its end: a late notify, or another CCN, may have brought it back."""
        opinions = await self._messages.opinions(vm.item_hash)
        if any(status.on_network for status in opinions):
            return await self._revive(vm, "the network lists it again", forgotten_at=None, erased_at=None)
        if vm.warned != GONE_UNVERIFIED and await self._erasure.holds(vm):
            return await self._revive(vm, "its CRN runs it again", erased_at=None)
        now = self._clock.now()
        return await self._inventory.note(vm.item_hash, verified_at=now, next_attempt_at=None, last_error="")

    async def revive(self, vm: Vm, cause: str) -> Vm:
        """A tombstone that the network lists as alive is torn down from the beginning. Raises StaleRow."""
        began = vm.broadcast_at or self._clock.now()
        unset = dict.fromkeys(("forgotten_at", "erased_at", "unknown_since"))
        return await self._revive(vm, cause, broadcast_at=began, **unset)

    async def _revive(self, vm: Vm, cause: str, **facts: Any) -> Vm:
        now = self._clock.now()
        return await self._inventory.move(
            vm.item_hash,
            VmState.DESTROYING,
            cause,
            now,
            destroy_at=now,
            next_attempt_at=now,
            attempts=0,
            ended_at=None,
            verified_at=None,
            **facts,
        )
