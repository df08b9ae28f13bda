"""Ending VMs: FORGET until the network confirms, erase until the CRN does not list it, then gone.

Every step is idempotent and its success is stored before the next one, so that a pass can be cut
anywhere and be begun again. Nothing is called done on hope.
"""

import asyncio
import logging
import random
from collections import defaultdict
from datetime import timedelta
from typing import Any

from ..domain.clock import Clock
from ..domain.leases import UNKNOWN_PROOF, backoff
from ..domain.model import Vm, VmState
from ..ports import (
    EraseOutcome,
    Hosts,
    Inventory,
    KeyMissing,
    Messages,
    MessageStatus,
    NetworkTrouble,
    Signer,
    StaleRow,
    StoreTrouble,
)
from .jobs import Jobs
from .unwritten import Unwritten

log = logging.getLogger(__name__)

AT_ONCE = 16
AT_ONCE_PER_HOST = 4
CLAIM = timedelta(seconds=120)
"""How long a pass may take before the reaper looks at the row again."""
FORGETS_PER_VM = 8
_CONFIRM_PAUSES_S = (0.05, 0.2, 0.5, 1, 2, 3)
_GONE_PAUSES_S = (0.05, 0.2, 0.5, 1, 2)
_SOON = timedelta(seconds=2)
_WATCH = timedelta(minutes=1)
_SLOW_END = timedelta(minutes=3)
_STOPS_BY_ITSELF = timedelta(minutes=10)
"""A CRN stops a forgotten VM after three looks, a minute apart; this is more than twice that."""


class NotYet(Exception):
    """This pass cannot go on. `retry_in`: the network is merely busy with it, which is no failure."""

    def __init__(self, why: str, *, retry_in: timedelta | None = None) -> None:
        super().__init__(why)
        self.retry_in = retry_in


class Teardown:
    """Takes VMs from `destroying` to `gone`."""

    def __init__(
        self, inventory: Inventory, messages: Messages, hosts: Hosts, signer: Signer, clock: Clock, jobs: Jobs
    ) -> None:
        self._inventory, self._messages, self._hosts, self._signer = inventory, messages, hosts, signer
        self._clock, self._jobs = clock, jobs
        self._unwritten = Unwritten(inventory, messages, hosts, clock)
        self._all = asyncio.Semaphore(AT_ONCE)
        self._per_host: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(AT_ONCE_PER_HOST)
        )
        self._dice = random.Random()  # noqa: S311 - jitter

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
        return self._jobs.start(f"teardown:{vm.item_hash}", lambda: self._guarded(vm.item_hash, vm.crn_url))

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

    async def _guarded(self, item_hash: str, host: str) -> Vm | None:
        async with self._all, self._per_host[host]:
            return await self.run(item_hash)

    async def row(self, item_hash: str) -> Vm | None:
        """The row, with what could not be written yet."""
        vm = await self._inventory.get(item_hash)
        return vm and self._unwritten.seen(vm)

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
        vm = await self._inventory.note(item_hash, next_attempt_at=self._clock.now() + CLAIM)
        try:
            if vm.state is VmState.GONE:
                return await self._verify(vm)
            if vm.forgotten_at is None:
                vm = await self._end_billing(vm)
            if vm.state is VmState.DESTROYING:
                vm = await self._erase(vm)
                now = self._clock.now()
                vm = await self._inventory.move(
                    item_hash, VmState.GONE, vm.cause, now, ended_at=now, next_attempt_at=None, last_error=""
                )
            return vm
        except (NotYet, NetworkTrouble, KeyMissing) as why:
            return await self._postpone(vm, why)
        except StaleRow as stale:
            return stale.vm

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

    async def _end_billing(self, vm: Vm) -> Vm:
        if vm.broadcast_at is None:
            return await self._never_was(vm, "it was never broadcast")
        status = await self._messages.status(vm.item_hash)
        if vm.unknown_since and (status.on_network or status is MessageStatus.PENDING):
            # It is known again: what was seen before is no proof any more.
            vm = await self._inventory.note(vm.item_hash, unknown_since=None)
        if status.on_network:
            status = await self._forget(vm)
        if status.billing_ended:
            return await self._inventory.settle(
                vm.item_hash,
                f"the network says {status}",
                now := self._clock.now(),
                forgotten_at=now,
                unknown_since=None,
            )
        if status is MessageStatus.PENDING:
            raise NotYet("the network is still processing its message", retry_in=self._soon(vm))
        return await self._wait_for_proof(vm, status)

    async def _forget(self, vm: Vm) -> MessageStatus:
        """Post a kill switch and see whether it took effect; a burnt one is never posted again (rules.md 3)."""
        forget = await self._inventory.next_forget(vm.item_hash)
        if forget is None:
            fresh = await self._signer.sign_forgets(vm.item_hash, vm.payer, FORGETS_PER_VM)
            await self._inventory.add_forgets(vm.item_hash, fresh)
            forget = fresh[0]
        await self._messages.post(forget)
        for pause in _CONFIRM_PAUSES_S:
            status = await self._messages.status(vm.item_hash)
            if not status.on_network:
                return status
            await asyncio.sleep(pause)
        verdict = await self._messages.status(forget.item_hash)
        if verdict in (MessageStatus.PROCESSED, MessageStatus.REJECTED):
            await self._inventory.burn_forget(vm.item_hash, forget.item_hash, self._clock.now())
        raise NotYet(f"its FORGET is {verdict}, but the VM is still {status}")

    async def _wait_for_proof(self, vm: Vm, status: MessageStatus) -> Vm:
        """Rejected or unknown is provisional: the bytes are public, and one CCN is not the network."""
        now = self._clock.now()
        since = vm.unknown_since or now
        if now - since >= UNKNOWN_PROOF:
            return await self._never_was(vm, f"the network says {status} since {since:%H:%M} UTC")
        await self._inventory.note(vm.item_hash, unknown_since=since)
        raise NotYet(
            f"the network says {status}; it is watched until that is sure",
            retry_in=min(_WATCH, since + UNKNOWN_PROOF - now),
        )

    async def _never_was(self, vm: Vm, why: str) -> Vm:
        now = self._clock.now()
        return await self._inventory.settle(
            vm.item_hash,
            f"{vm.cause}; {why}",
            now,
            to=VmState.FAILED,
            ended_at=now,
            next_attempt_at=None,
            last_error=why,
        )

    async def _erase(self, vm: Vm) -> Vm:
        """Stop it on its CRN: a FORGET alone takes minutes, and leaves the data volumes there."""
        if vm.erased_at is not None:
            return vm
        if not (vm.crn_hash or vm.crn_url):  # an imported row may have the address alone
            return await self._unhosted(vm)
        outcome = await self._hosts.erase(vm.crn_url, vm.item_hash)
        if outcome is EraseOutcome.REFUSED:
            raise NotYet(f"CRN {vm.crn_name or vm.crn_url} refused to erase it")
        for pause in _GONE_PAUSES_S:
            if await self._hosts.execution(vm.crn_url, vm.item_hash) is None:
                return await self._inventory.note(vm.item_hash, erased_at=self._clock.now())
            await asyncio.sleep(pause)
        raise NotYet("its CRN still lists it after the erase", retry_in=self._soon(vm))

    def _soon(self, vm: Vm) -> timedelta | None:
        """A guest that is deaf to ACPI takes up to 50 s, a busy network less; who takes longer counts as failing."""
        patient = vm.destroy_at is not None and self._clock.now() - vm.destroy_at < _SLOW_END
        return _SOON if patient else None

    async def _unhosted(self, vm: Vm) -> Vm:
        """An orphan whose message names no CRN: nobody can be asked, and whoever runs it stops by itself."""
        now = self._clock.now()
        if vm.forgotten_at is not None and now - vm.forgotten_at >= _STOPS_BY_ITSELF:
            return await self._inventory.note(vm.item_hash, erased_at=now)
        raise NotYet("its message names no CRN: whichever runs it stops it within minutes", retry_in=_WATCH)

    async def _verify(self, vm: Vm) -> Vm:
        """Look once more after its end: a late notify, or another CCN, may have brought it back."""
        now = self._clock.now()
        status = await self._messages.status(vm.item_hash)
        if status.on_network:
            return await self._revive(vm, "the network lists it again", forgotten_at=None, erased_at=None)
        if (vm.crn_hash or vm.crn_url) and await self._hosts.execution(vm.crn_url, vm.item_hash) is not None:
            return await self._revive(vm, "its CRN runs it again", erased_at=None)
        return await self._inventory.note(vm.item_hash, verified_at=now, next_attempt_at=None, last_error="")

    async def revive(self, vm: Vm, cause: str) -> Vm:
        """A tombstone that the network lists as alive is torn down from the beginning. Raises StaleRow."""
        began = vm.broadcast_at or self._clock.now()
        unset = dict.fromkeys(("forgotten_at", "erased_at", "verified_at", "ended_at", "unknown_since"))
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
            **facts,
        )
