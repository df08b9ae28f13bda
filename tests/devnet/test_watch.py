"""The WebSocket of new messages, as the SDK reads it."""

import asyncio

from aleph.sdk.query.filters import MessageFilter
from aleph_message.models import MessageType

from support.local_network import LocalNetwork


async def test_watch_messages_tells_what_was_and_what_comes(net: LocalNetwork) -> None:
    """`watch_messages` (WebSocket, filter by sender and type) exists in the SDK."""
    before = await net.create()
    wanted = MessageFilter(message_types=[MessageType.instance], addresses=[net.address()])
    messages = (await net.sdk()).watch_messages(wanted)
    async with asyncio.timeout(20):
        assert (await anext(messages)).item_hash == before
        await net.create("human")
        after = await net.create()
        assert (await anext(messages)).item_hash == after
    await messages.aclose()
