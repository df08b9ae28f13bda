"""Aggregates: merged per top-level key, the last writer by content time."""

from aleph_message.models import MessageType

from support.local_network import LocalNetwork


async def publish(net: LocalNetwork, content: dict, moment: float = 0) -> str:
    """An AGGREGATE `notes` of a given content time."""
    fields = {"address": net.address(), "time": net.network.clock.now() + moment}
    body = {**fields, "key": "notes", "content": content}
    message = await net.signed(MessageType.aggregate, body, await net.sdk())
    assert (await net.post(message))[0] == 200
    return str(message["item_hash"])


async def notes(net: LocalNetwork) -> dict | None:
    """The aggregate, read with the SDK."""
    return await (await net.sdk()).get_aggregate(net.address(), "notes")


async def test_updates_merge_per_top_level_key(net: LocalNetwork) -> None:
    """Merge per top-level key, last writer by time."""
    await publish(net, {"a": {"x": 1}, "b": 1})
    await publish(net, {"a": {"y": 2}})
    assert await notes(net) == {"a": {"y": 2}, "b": 1}


async def test_an_older_update_is_processed_and_ignored(net: LocalNetwork) -> None:
    """An older one is processed and ignored; a future one would poison the key (rules.md 9)."""
    await publish(net, {"a": "future"}, moment=3600)
    item_hash = await publish(net, {"a": "now", "b": "now"})
    assert await net.status(item_hash) == "processed"
    assert await notes(net) == {"a": "future", "b": "now"}


async def test_a_forgotten_update_is_undone(net: LocalNetwork) -> None:
    """FORGET of an AGGREGATE takes its part out again."""
    await publish(net, {"a": 1})
    second = await publish(net, {"a": 2})
    await net.post(await net.signed_forget(second))
    assert await notes(net) == {"a": 1}


async def test_a_key_that_is_not_there_is_404(net: LocalNetwork) -> None:
    """The SDK's `get_aggregate` makes None of it."""
    assert await notes(net) is None
    path = f"/api/v0/aggregates/{net.address()}.json"
    assert await net.get(path) == (404, "No aggregate found for this address")
