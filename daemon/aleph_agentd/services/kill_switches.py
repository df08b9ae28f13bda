"""Ending a VM with nothing but its pre-signed FORGETs: no key, no inventory, nothing written."""

import asyncio
from collections.abc import Iterable

from ..domain.model import SignedMessage
from ..ports import Messages, MessageStatus

PAUSES_S = (0.05, 0.2, 0.5, 1, 2, 3)
"""Between two looks at whether a kill switch took effect."""


async def pull(messages: Messages, item_hash: str, forgets: Iterable[SignedMessage]) -> MessageStatus:
    """Post one after another until billing has ended, or there are none left; the last status seen.

    Nothing is posted unless the VM is processed or removing: it would only be burnt (rules.md 3). Burnt
    ones do no harm: the network drops them, and the next one is tried. Raises NetworkTrouble.
    """
    status = await messages.status(item_hash)
    for forget in forgets:
        if not status.on_network:
            break
        await messages.post(forget)
        status = await _effect(messages, item_hash, forget)
    return status


async def _effect(messages: Messages, item_hash: str, forget: SignedMessage) -> MessageStatus:
    """What the VM's status is once the FORGET took effect, or is seen to be burnt, or a while has passed."""
    status = await messages.status(item_hash)
    for pause in PAUSES_S:
        if not status.on_network:
            break
        verdict = await messages.status(forget.item_hash)
        if verdict in (MessageStatus.PROCESSED, MessageStatus.REJECTED):
            # Asked in this order: a FORGET that was processed has changed the VM's status before.
            return await messages.status(item_hash)
        await asyncio.sleep(pause)
        status = await messages.status(item_hash)
    return status
