"""What clients that subscribed are told, in both eras: that something changed, once, and never of their own reading."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.gateway import mcp_updates
from aleph_agentd.gateway.mcp_session import OUTPUT_MESSAGES, UPDATED
from aleph_agentd.gateway.mcp_updates import Updates
from aleph_agentd.ports import StoreTrouble

from .mcp_fixtures import MODERN, FakeToolbox, McpServed, Raw, serving_mcp

VMS, BUDGET, CRNS = "aleph://vms", "aleph://budget", "aleph://crns"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(mcp_updates, "PAUSE_S", 0.0)
    yield


async def subscribed(mcp: McpServed, *uris: str) -> Raw:
    """A client of the handshake era."""
    raw = await mcp.handshaken()
    for number, uri in enumerate(uris, 1):
        assert (await raw.ask(number, "resources/subscribe", {"uri": uri}))["result"] == {}
    return raw


async def told(raw: Raw) -> str:
    """Of which resource the next message tells."""
    message = await raw.next()
    assert message["method"] == UPDATED
    return str(message["params"]["uri"])


async def test_a_client_of_the_handshake_era_is_told_of_what_it_subscribed_to(tmp_path: Path) -> None:
    """Nothing else, and nothing any more after it unsubscribed; others are told nothing."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp:
        raw, other = await subscribed(mcp, VMS), await mcp.handshaken("e" * 32)
        server = await mcp.lazy.get()
        assert await server.announce()
        assert await told(raw) == VMS
        await raw.ask(9, "resources/unsubscribe", {"uri": VMS})
        assert await server.announce()
        assert (await raw.ask(10, "ping"))["id"] == 10
        assert (await other.ask(11, "ping"))["id"] == 11


@pytest.mark.parametrize("uri", [CRNS, "file:///etc/passwd", "aleph://vms/../x"])
async def test_only_what_changes_can_be_subscribed_to(tmp_path: Path, uri: str) -> None:
    """A subscription to anything else would be silence for ever."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp:
        raw = await mcp.handshaken()
        assert VMS in (await raw.ask(1, "resources/subscribe", {"uri": uri}))["error"]["message"]


async def test_a_modern_client_is_told_on_the_stream_that_it_asked_for(tmp_path: Path) -> None:
    """Of the resources that it named."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp:
        raw = Raw(*await mcp.opened("d" * 32))
        wanted = {"resourceSubscriptions": [BUDGET]}
        acknowledged = await raw.ask(1, "subscriptions/listen", {"_meta": MODERN, "notifications": wanted})
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
        assert await (await mcp.lazy.get()).announce()
        assert await told(raw) == BUDGET


async def test_both_eras_are_promised_what_they_get(tmp_path: Path) -> None:
    """A client that is not told so does not subscribe."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp:
        raw = Raw(*await mcp.opened())
        hello = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "r", "version": "1"},
        }
        answer = await raw.ask(0, "initialize", hello)
        assert answer["result"]["capabilities"]["resources"]["subscribe"] is True
        modern = Raw(*await mcp.opened("d" * 32))
        found = await modern.ask(1, "server/discover", {"_meta": MODERN})
        assert found["result"]["capabilities"]["resources"]["subscribe"] is True


async def test_a_client_that_does_not_read_is_told_once_when_it_does(tmp_path: Path) -> None:
    """However often things changed meanwhile: what is kept for it is one update for each resource."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp:
        await subscribed(mcp, VMS, BUDGET)
        server = await mcp.lazy.get()
        [session] = server._sessions
        outgoing, session._outgoing = session._outgoing, Full()
        for _ in range(10 * OUTPUT_MESSAGES):
            assert not await server.announce()
        assert session._untold == {VMS, BUDGET}
        session._outgoing = outgoing
        assert await server.announce()
        assert session._untold == set()


class Full:
    """A stream whose reader is busy."""

    def send_nowait(self, _: Any) -> None:
        """No room."""
        import anyio

        raise anyio.WouldBlock

    def clone(self) -> "Full":
        """The same."""
        return self

    def close(self) -> None:
        """Nothing to close."""


class Announcing:
    """Counts announcements; refuses the first ones."""

    def __init__(self, refusing: int = 0) -> None:
        self.count, self._refusing = 0, refusing

    async def announce(self) -> bool:
        """As the server does."""
        self.count += 1
        return self.count > self._refusing


async def finished(updates: Updates) -> None:
    """Wait until there is nothing left to tell."""
    assert updates._task is not None
    async with asyncio.timeout(10):
        await updates._task


async def test_many_writes_at_once_are_one_update_and_writes_without_an_event_none() -> None:
    """A call that reads leaves an audit entry, which is a write."""
    newest = 7

    async def newest_event() -> int:
        return newest

    announcing = Announcing()
    updates = Updates(newest_event, announcing)
    for _ in range(100):
        updates.changed()
    await finished(updates)
    assert announcing.count == 1
    updates.changed()
    await finished(updates)
    assert announcing.count == 1
    newest = 8
    updates.changed()
    await finished(updates)
    assert announcing.count == 2


async def test_it_goes_on_until_everybody_is_told_and_stops_when_it_shall() -> None:
    """A client that does not read is tried again with each pause."""

    async def newest_event() -> int:
        return 7

    announcing = Announcing(refusing=3)
    updates = Updates(newest_event, announcing)
    updates.changed()
    await finished(updates)
    assert announcing.count == 4
    never = Updates(newest_event, Announcing(refusing=10**9))
    never.changed()
    await asyncio.sleep(0)
    never.stop()
    with pytest.raises(asyncio.CancelledError):
        await finished(never)


async def test_an_inventory_that_cannot_be_read_tells_nobody_and_harms_nothing() -> None:
    """The next change is told."""
    broken = True

    async def newest_event() -> int:
        if broken:
            raise StoreTrouble("disk I/O error")
        return 1

    announcing = Announcing()
    updates = Updates(newest_event, announcing)
    updates.changed()
    await finished(updates)
    assert announcing.count == 0
    broken = False
    updates.changed()
    await finished(updates)
    assert announcing.count == 1
