"""The end of a VM's billing: FORGET until the network confirms it, or proof that there never was anything to bill."""

import asyncio
from datetime import timedelta

from ..domain.clock import Clock
from ..domain.leases import UNKNOWN_PROOF
from ..domain.model import SignedMessage, Vm, VmState
from ..ports import Inventory, Messages, MessageStatus, Signer
from .looks import Looks
from .steps import NotYet, soon

FORGETS_PER_VM = 8
POSTS_AT_ONCE = 14
"""Together with the looks: 16 calls to the CCN at a time."""
_CONFIRM_PAUSES_S = (0.05, 0.2, 0.5, 1, 2, 3)
_WATCH = timedelta(minutes=1)
_SOONEST = timedelta(seconds=1)
_AGREE = 2
"""CCNs that must say so before a rejection is believed at once (rules.md 2)."""
_NOT_AUTHORISED = 2
_REVOKED_RETRY = timedelta(minutes=10)


class BillingEnd:
    """The first step of a teardown. It waits for nobody but the CCN."""

    def __init__(self, inventory: Inventory, messages: Messages, signer: Signer, clock: Clock) -> None:
        self._inventory, self._messages, self._signer, self._clock = inventory, messages, signer, clock
        self._looks = Looks(messages)
        self._posts = asyncio.Semaphore(POSTS_AT_ONCE)

    async def run(self, vm: Vm) -> Vm:
        """The row once its billing has ended, or once it is `failed`. Raises NotYet, NetworkTrouble, KeyMissing."""
        if vm.broadcast_at is None:
            return await self._never_was(vm, "it was never broadcast")
        status = await self._looks.status(vm.item_hash, MessageStatus.PROCESSED)
        if vm.unknown_since and (status.on_network or status is MessageStatus.PENDING):
            # It is known again: what was seen before is no proof any more.
            vm = await self._inventory.note(vm.item_hash, unknown_since=None)
        if status.on_network:
            status = await self._forget(vm)
        if status.billing_ended:
            return await self._ended(vm, status)
        if status is MessageStatus.PENDING:
            raise NotYet("the network is still processing its message", retry_in=soon(vm, self._clock.now()))
        return await self._wait_for_proof(vm, status)

    async def _ended(self, vm: Vm, status: MessageStatus) -> Vm:
        now, why = self._clock.now(), f"the network says {status}"
        return await self._inventory.settle(vm.item_hash, why, now, forgotten_at=now, unknown_since=None)

    async def _forget(self, vm: Vm) -> MessageStatus:
        """Post a kill switch and see whether it took effect; a burnt one is never posted again (rules.md 3)."""
        forget = await self._inventory.next_forget(vm.item_hash)
        if forget is None:
            fresh = await self._signer.sign_forgets(vm.item_hash, vm.payer, FORGETS_PER_VM)
            await self._inventory.add_forgets(vm.item_hash, fresh)
            forget = fresh[0]
        async with self._posts:
            await self._messages.post(forget)
        for pause in _CONFIRM_PAUSES_S:
            status = await self._looks.status(vm.item_hash, MessageStatus.FORGOTTEN)
            if not status.on_network:
                return status
            await asyncio.sleep(pause)
        raise await self._without_effect(vm, forget, status)

    async def _without_effect(self, vm: Vm, forget: SignedMessage, status: MessageStatus) -> NotYet:
        verdict = await self._messages.status(forget.item_hash)
        if verdict in (MessageStatus.PROCESSED, MessageStatus.REJECTED):
            await self._inventory.burn_forget(vm.item_hash, forget.item_hash, self._clock.now())
        if verdict is MessageStatus.REJECTED:
            why = await self._messages.rejection(forget.item_hash)
            if why and why.error_code == _NOT_AUTHORISED:
                # Each try burns a kill switch, and none works until the payer authorises us again.
                return NotYet(f"the payer does not let us end it: {why.text}", retry_in=_REVOKED_RETRY)
        return NotYet(f"its FORGET is {verdict}, but the VM is still {status}")

    async def _wait_for_proof(self, vm: Vm, status: MessageStatus) -> Vm:
        """Rejected or unknown is provisional: the bytes are public, and one CCN is not the network."""
        opinions = await self._messages.opinions(vm.item_hash)
        now = self._clock.now()
        since = vm.unknown_since or now
        if known := next((said for said in opinions if said.on_network or said.billing_ended), None):
            return await self._known_elsewhere(vm, known)
        if opinions.count(MessageStatus.REJECTED) >= _AGREE:
            return await self._never_was(vm, f"{len(opinions)} nodes say {MessageStatus.REJECTED}")
        if now - since >= UNKNOWN_PROOF and MessageStatus.PENDING not in opinions:
            return await self._never_was(vm, f"the network says {status} since {since:%H:%M} UTC")
        await self._inventory.note(vm.item_hash, unknown_since=since)
        raise NotYet(
            f"the network says {status}; it is watched until that is sure",
            retry_in=min(_WATCH, max(_SOONEST, since + UNKNOWN_PROOF - now)),
        )

    async def _known_elsewhere(self, vm: Vm, status: MessageStatus) -> Vm:
        """One CCN denies what another one knows: believe the one that knows."""
        if status.on_network:
            status = await self._forget(vm)
        if status.billing_ended:
            return await self._ended(vm, status)
        raise NotYet(f"the nodes disagree: one of them says {status}", retry_in=_WATCH)

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
