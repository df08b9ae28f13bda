"""Extensions on the network: what makes a lost inventory whole again must know them too (rules.md 9)."""

import asyncio
import logging
from datetime import timedelta

from ..domain.clock import Clock
from ..domain.model import PublishedEnd, SignedMessage, Vm
from ..ports import Inventory, KeyMissing, Messages, MessageStatus, NetworkTrouble, Signer
from .jobs import Jobs

log = logging.getLogger(__name__)

INTERVAL_S = 30
CONFIRM_S = 20.0
"""How long the answer to an extension waits for it to be read back."""
_BATCH = 20
_TICK = timedelta(milliseconds=1)
_LOOK_PAUSES_S = (0.0, 0.2, 0.5, 1.0)
_TRY_PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0)


class Publisher:
    """Publishes each extension in our AGGREGATE and reads it back. The lease itself does not wait for it."""

    def __init__(
        self, inventory: Inventory, messages: Messages, signer: Signer, clock: Clock, jobs: Jobs
    ) -> None:
        self._inventory, self._messages, self._signer = inventory, messages, signer
        self._clock, self._jobs = clock, jobs
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Start on what is not confirmed yet."""
        if not self._signer.trouble:
            for vm in await self._inventory.unpublished(_BATCH):
                self._start(vm)

    async def published(self, vm: Vm, seconds: float = CONFIRM_S) -> bool:
        """Whether the end of this lease could be read from the network; waits, and leaves a job behind."""
        if vm.lease_version == 1:
            return True
        job = self._start(vm)
        await asyncio.wait({job}, timeout=seconds)
        return job.done() and not job.cancelled() and job.exception() is None and bool(job.result())

    def _start(self, vm: Vm) -> "asyncio.Task[bool]":
        return self._jobs.start(
            f"publish:{vm.item_hash}:{vm.lease_version}", lambda: self._publish(vm, vm.lease_version - 1)
        )

    async def _publish(self, vm: Vm, n: int) -> bool:
        """Try for a while; what is left, the next run goes on with."""
        wanted = PublishedEnd(n, vm.expires_at)
        for pause in _TRY_PAUSES_S:
            await asyncio.sleep(pause)
            try:
                if await self._try(vm.item_hash, wanted):
                    await self._inventory.confirm_extension(vm.item_hash, n, self._clock.now())
                    return True
            except (NetworkTrouble, KeyMissing) as why:
                log.info("the extension of %s (%s) is not published yet: %s", vm.name, vm.item_hash[:12], why)
        return False

    async def _try(self, item_hash: str, wanted: PublishedEnd) -> bool:
        # One after another: the network ignores an entry that is dated before one that it has seen.
        async with self._turn:
            if await self._is_there(item_hash, wanted):
                await self._message(item_hash, wanted)
                return True
            message = await self._message(item_hash, wanted)
            await self._messages.post(message)
        for pause in _LOOK_PAUSES_S:
            await asyncio.sleep(pause)
            if await self._is_there(item_hash, wanted):
                return True
        if await self._messages.status(message.item_hash) in (
            MessageStatus.PROCESSED,
            MessageStatus.REJECTED,
        ):
            # It was ignored, or refused: the same bytes would be so for ever.
            async with self._turn:
                await self._sign(item_hash, wanted)
        return False

    async def _message(self, item_hash: str, wanted: PublishedEnd) -> SignedMessage:
        return await self._inventory.extension(item_hash, wanted.n) or await self._sign(item_hash, wanted)

    async def _sign(self, item_hash: str, wanted: PublishedEnd) -> SignedMessage:
        """Sign and keep: a crash posts the same bytes again. Dated later than any other, and not in the future."""
        last, now = await self._inventory.last_extension_at(), self._clock.now()
        dated_at = now if last is None else max(now, last + _TICK)
        message = await self._signer.sign_extension(item_hash, wanted, dated_at)
        await self._inventory.keep_extension(item_hash, wanted.n, message, dated_at)
        return message

    async def _is_there(self, item_hash: str, wanted: PublishedEnd) -> bool:
        found = (await self._messages.published_ends(self._signer.address)).get(item_hash)
        return found is not None and (found == wanted or found.n > wanted.n)
