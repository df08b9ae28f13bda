"""What the network says of many messages, asked together: a mass teardown has no time to ask one by one."""

import asyncio
import math
from collections.abc import Mapping

from ..ports import Messages, MessageStatus, NetworkTrouble

AT_ONCE = 2
"""Questions to the CCN at a time; each is about as many messages as wait by then."""
BATCH = 64
_ALONE_S = 600.0
"""How long a CCN that answers no such question is asked one by one."""

Waiting = dict[str, "asyncio.Future[MessageStatus | None]"]


class Looks:
    """Whoever has its turn asks for all that wait. Asked alone is who waits alone, and what no listing knows."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting: Mapping[MessageStatus, Waiting] = {
            MessageStatus.PROCESSED: {},
            MessageStatus.FORGOTTEN: {},
        }
        self._alone_until = -math.inf

    async def status(self, item_hash: str, hoped: MessageStatus) -> MessageStatus:
        """What one CCN says of it now. Raises NetworkTrouble.

        `hoped` is the likely answer, PROCESSED or FORGOTTEN. PROCESSED may stand for removing.
        """
        waiting = self._waiting[hoped]
        if item_hash not in waiting:
            waiting[item_hash] = asyncio.get_running_loop().create_future()
        answer = waiting[item_hash]
        async with self._turns:
            if waiting.get(item_hash) is answer:
                await self._ask(item_hash, hoped)
        # Else somebody else's turn took it along; it may be under way.
        said = await answer
        if said is not None:
            return said
        async with self._turns:
            return await self._messages.status(item_hash)

    async def _ask(self, item_hash: str, hoped: MessageStatus) -> None:
        """Answer everybody who waits, at most a batch of them; None: it has to be asked alone."""
        waiting = self._waiting[hoped]
        batch = {item_hash: waiting.pop(item_hash)}
        while waiting and len(batch) < BATCH:
            other = next(iter(waiting))
            batch[other] = waiting.pop(other)
        found: dict[str, MessageStatus] = {}
        try:
            if len(batch) > 1 and asyncio.get_running_loop().time() >= self._alone_until:
                found = await self._listed(list(batch), hoped)
        except NetworkTrouble as trouble:
            _fail(batch, trouble)
        finally:
            # Also when who asked is cancelled: the others ask for themselves.
            for asked, answer in batch.items():
                if not answer.done():
                    answer.set_result(found.get(asked))

    async def _listed(self, hashes: list[str], hoped: MessageStatus) -> dict[str, MessageStatus]:
        """Those that are as hoped, or the opposite. A CCN that answers only other questions is no trouble."""
        opposite = {MessageStatus.PROCESSED: MessageStatus.FORGOTTEN}.get(hoped, MessageStatus.PROCESSED)
        found: dict[str, MessageStatus] = {}
        try:
            for status in (hoped, opposite):
                if left := [item_hash for item_hash in hashes if item_hash not in found]:
                    found |= dict.fromkeys(await self._messages.which(left, status), status)
        except NetworkTrouble:
            found[hashes[0]] = await self._messages.status(hashes[0])
            self._alone_until = asyncio.get_running_loop().time() + _ALONE_S
        return found


def _fail(batch: Waiting, trouble: NetworkTrouble) -> None:
    for answer in batch.values():
        if not answer.done():
            answer.set_exception(trouble)
            answer.exception()  # looked at: whoever waited may be gone
