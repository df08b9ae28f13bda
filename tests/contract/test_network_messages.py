"""Messages on CCNs that answer wrongly, slowly, partially or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aleph_agentd.adapters.aleph.network import Network, open_network
from aleph_agentd.domain.model import SignedMessage, Stamp
from aleph_agentd.ports import MessageStatus, NetworkTrouble, Rejection
from support.network import HASH, SHORT, FakeNode, settings_for

pytest_plugins = ["support.network_fixtures"]

ME = "0x6370eF2f4Db3611D657b90667De398a2Cc2a370C"
MESSAGE = SignedMessage(HASH, '{"item_hash":"x"}')
POST, STATUS, ONE, LIST = (
    "/api/v0/messages",
    f"/api/v0/messages/{HASH}/status",
    f"/api/v0/messages/{HASH}",
    "/api/v0/messages.json",
)
GARBAGE = [
    b"",
    b"<html>",
    b"[]",
    b'{"status": 7}',
    b'{"status": "borked"}',
    b"[" * 200_000,
    b'{"a":NaN}',
    b"\xff",
]


@pytest.fixture
async def pair(node: FakeNode, other_node: FakeNode, key_path: Path) -> AsyncIterator[Network]:
    """A network of two CCNs."""
    async with open_network(settings_for(key_path, node.url, other_node.url, timeouts=SHORT)) as opened:
        yield opened


@pytest.mark.parametrize("status", [200, 202, 422])
async def test_a_post_that_a_ccn_has_seen_returns(network: Network, node: FakeNode, status: int) -> None:
    """Processed, pending and rejected are all read from the status afterwards."""
    node.says(POST, text="whatever", status=status)
    await network.messages.post(MESSAGE)
    assert json.loads(node.bodies[0]) == {"sync": True, "message": {"item_hash": "x"}}


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 502, 503])
async def test_a_post_with_any_other_answer_is_unknown(network: Network, node: FakeNode, status: int) -> None:
    """A proxy may have answered after the node took it."""
    node.says(POST, text="no", status=status, Location="/elsewhere")
    with pytest.raises(NetworkTrouble):
        await network.messages.post(MESSAGE)
    assert node.asks("/elsewhere") == 0


@pytest.mark.parametrize("status", list(MessageStatus))
async def test_every_known_status_is_told(network: Network, node: FakeNode, status: MessageStatus) -> None:
    """The words are the network's."""
    node.says(
        STATUS, {"status": status.value, "item_hash": HASH, "reception_time": "2026-01-01T00:00:00+00:00"}
    )
    assert await network.messages.status(HASH) is status


async def test_a_404_is_unknown_and_not_trouble(network: Network) -> None:
    """It is an answer, but never proof of absence."""
    assert await network.messages.status(HASH) is MessageStatus.UNKNOWN


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:12]))
async def test_a_status_that_makes_no_sense_is_trouble(network: Network, node: FakeNode, body: bytes) -> None:
    """What it does not know, it says (promise 5)."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    node.does(STATUS, answer)
    with pytest.raises(NetworkTrouble, match="makes no sense"):
        await network.messages.status(HASH)


async def test_the_status_of_another_message_is_trouble(network: Network, node: FakeNode) -> None:
    """A confused cache must not end the billing of our VM on paper."""
    node.says(STATUS, {"status": "forgotten", "item_hash": "cd" * 32})
    with pytest.raises(NetworkTrouble, match="another message"):
        await network.messages.status(HASH)


@pytest.mark.parametrize("status", [302, 400, 403, 500, 503])
async def test_a_failing_status_is_trouble(network: Network, node: FakeNode, status: int) -> None:
    """Never "gone", never "zero"."""
    node.says(STATUS, text="no", status=status, Location="/elsewhere")
    with pytest.raises(NetworkTrouble):
        await network.messages.status(HASH)
    assert node.asks("/elsewhere") == 0


async def test_an_answer_slower_than_its_time_out_is_trouble(network: Network, node: FakeNode) -> None:
    """The node answers when the test is over; the call does not wait for it."""
    over = asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    node.does(STATUS, answer)
    node.does(POST, answer)
    with pytest.raises(NetworkTrouble, match="no answer within"):
        await network.messages.status(HASH)
    with pytest.raises(NetworkTrouble, match="no answer within"):
        await network.messages.post(MESSAGE)
    over.set()


async def test_an_endless_body_is_cut_off(network: Network, node: FakeNode) -> None:
    """Eight MiB are read, the rest is not."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(10_000):
                await response.write(b" " * 65536)
        except ConnectionError:
            pass
        return response

    node.does(STATUS, answer)
    with pytest.raises(NetworkTrouble, match=r"more than 8388608 bytes|no answer within"):
        await network.messages.status(HASH)


async def test_a_cancelled_call_is_cancelled_and_not_trouble(network: Network, node: FakeNode) -> None:
    """Whoever gave up must not be told a story about the network."""
    asked = asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        asked.set()
        await asyncio.sleep(60)
        return web.Response()

    node.does(POST, answer)
    task = asyncio.create_task(network.messages.post(MESSAGE))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_read_falls_over_to_the_next_host(
    pair: Network, node: FakeNode, other_node: FakeNode
) -> None:
    """One CCN is not the network (rules.md 2)."""
    node.says(STATUS, text="down", status=503)
    other_node.says(STATUS, {"status": "processed"})
    assert await pair.messages.status(HASH) is MessageStatus.PROCESSED


async def test_a_post_goes_to_the_next_host_only_if_the_first_took_no_connection(
    node: FakeNode, other_node: FakeNode, key_path: Path, pair: Network
) -> None:
    """After a connection the outcome is unknown, and the caller decides."""
    node.says(POST, text="broken", status=500)
    other_node.says(POST, text="fine")
    with pytest.raises(NetworkTrouble):
        await pair.messages.post(MESSAGE)
    assert other_node.asks(POST) == 0
    async with open_network(settings_for(key_path, "http://127.0.0.1:1", other_node.url)) as network:
        await network.messages.post(MESSAGE)
    assert other_node.asks(POST) == 1


async def test_a_rejection_for_credits_carries_the_numbers(network: Network, node: FakeNode) -> None:
    """They are what a human must top up."""
    errors = [{"account_credits": 1000, "min_runtime_days": 1, "required_credits": "342000.0"}]
    node.says(ONE, {"status": "rejected", "error_code": 6, "details": {"errors": errors}, "origin": "x"})
    assert await network.messages.rejection(HASH) == Rejection(6, "not enough credits", 342_000, 1000)


@pytest.mark.parametrize("details", [None, {}, {"errors": []}, {"errors": ["a\nb"]}, "x", {"errors": [[1]]}])
async def test_a_rejection_without_details_is_still_one(
    network: Network, node: FakeNode, details: Any
) -> None:
    """Only the code is sure."""
    node.says(ONE, {"status": "rejected", "error_code": 999, "details": details})
    found = await network.messages.rejection(HASH)
    assert found is not None
    assert found.error_code == 999
    assert found.text.startswith("error 999")
    assert "\n" not in found.text


@pytest.mark.parametrize(
    "said",
    [
        {"status": "pending", "item_hash": HASH, "messages": [{}]},
        {"status": "forgotten", "item_hash": HASH, "message": {}, "forgotten_by": ["cd" * 32]},
        {"status": "processed", "item_hash": HASH, "message": {}},
        {"status": "removing", "item_hash": HASH, "reason": "credit_insufficient", "message": {}},
    ],
    ids=lambda said: said["status"],
)
async def test_what_is_not_rejected_has_no_rejection(
    network: Network, node: FakeNode, said: dict[str, Any]
) -> None:
    """The shapes differ by status; the SDK breaks on two of them."""
    node.says(ONE, said)
    assert await network.messages.rejection(HASH) is None


async def test_the_networks_time_is_its_date_header(network: Network, node: FakeNode) -> None:
    """The second time source after a jump of the clock."""
    node.says(f"/api/v0/messages/{'0' * 64}/status", {}, status=404, Date="Tue, 02 Jan 2035 03:04:05 GMT")
    assert await network.messages.network_time() == datetime(2035, 1, 2, 3, 4, 5, tzinfo=UTC)


async def test_a_broken_date_is_trouble(network: Network, node: FakeNode) -> None:
    """A wrong clock must not reap."""
    node.says(f"/api/v0/messages/{'0' * 64}/status", {}, status=404, Date="yesterday")
    with pytest.raises(NetworkTrouble):
        await network.messages.network_time()


def _entry(number: int, sender: str = ME, **metadata: Any) -> dict[str, Any]:
    content = {"address": "0xpayer", "metadata": metadata, "requirements": {"node": {"node_hash": "cd" * 32}}}
    return {"item_hash": f"{number:064x}", "sender": sender, "type": "INSTANCE", "content": content}


def _listed(node: FakeNode, entries: list[dict[str, Any]], stated: dict[int, int] | None = None) -> None:
    """Serve entries in pages; `stated` overrides the total that a page states."""

    async def answer(request: web.Request) -> web.Response:
        page, size = int(request.query["page"]), int(request.query["pagination"])
        assert request.query["addresses"] == ME
        total = (stated or {}).get(page, len(entries))
        return web.json_response(
            {"messages": entries[(page - 1) * size : page * size], "pagination_total": total}
        )

    node.does(LIST, answer)


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200, 250])
async def test_every_page_of_the_listing_is_read(network: Network, node: FakeNode, count: int) -> None:
    """The SDK reads only the first hundred."""
    _listed(node, [_entry(n) for n in range(count)])
    found = await network.messages.instances(ME)
    assert [instance.item_hash for instance in found] == [f"{n:064x}" for n in range(count)]


async def test_a_stale_total_on_a_full_page_does_not_hide_a_new_vm(network: Network, node: FakeNode) -> None:
    """A CCN counts full pages from a cache."""
    _listed(node, [_entry(n) for n in range(101)], stated={1: 100})
    assert len(await network.messages.instances(ME)) == 101


@pytest.mark.parametrize("stated", [{1: 101}, {2: 102}, {1: 300}, {2: 100}])
async def test_a_truncated_listing_is_trouble(
    network: Network, node: FakeNode, stated: dict[int, int]
) -> None:
    """A VM that is missing from a partial list is not gone."""
    entries = [_entry(n) for n in range(101)]
    _listed(node, entries[:100] if stated == {1: 101} else entries, stated=stated)
    with pytest.raises(NetworkTrouble, match="listed"):
        await network.messages.instances(ME)


async def test_a_listing_that_shifts_between_pages_is_trouble(network: Network, node: FakeNode) -> None:
    """A new VM pushed another one over the page's edge."""
    _listed(node, [_entry(n) for n in range(100)] + [_entry(99)])
    with pytest.raises(NetworkTrouble, match="shifted"):
        await network.messages.instances(ME)


async def test_only_our_own_sender_is_believed(network: Network, node: FakeNode) -> None:
    """A stamp counts only under our address (rules.md 8)."""
    stamp = {"aleph-agentd": "home", "lease": "l" * 32, "expires_at": "2026-01-02T03:04:05Z"}
    _listed(node, [_entry(1, **stamp), _entry(2, sender="0xevil", **stamp)])
    (found,) = await network.messages.instances(ME)
    assert found.stamp == Stamp("home", "l" * 32, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert (found.payer, found.crn_hash) == ("0xpayer", "cd" * 32)


@pytest.mark.parametrize(
    "metadata",
    [
        {"name": "a\x1b[2Jb"},
        {"aleph-agentd": "home", "lease": "x", "expires_at": "soon"},
        {"aleph-agentd": "home", "lease": "x", "expires_at": "2026-01-02T03:04:05"},
        {"aleph-agentd": "home", "lease": 7, "expires_at": "2026-01-02T03:04:05Z"},
        {"aleph-agentd": "$(id)", "lease": "x", "expires_at": "2026-01-02T03:04:05Z"},
    ],
)
async def test_a_malformed_stamp_is_none(network: Network, node: FakeNode, metadata: dict[str, Any]) -> None:
    """Such a VM is an orphan to report, not trouble."""
    _listed(node, [_entry(1, **metadata)])
    (found,) = await network.messages.instances(ME)
    assert found.stamp is None
    assert "\x1b" not in found.name


@pytest.mark.parametrize(
    "entry", [None, {"item_hash": "../x"}, {"item_hash": HASH, "sender": ME, "content": None}]
)
async def test_a_listing_with_a_broken_entry_is_trouble(network: Network, node: FakeNode, entry: Any) -> None:
    """It might have been ours."""
    _listed(node, [entry])
    with pytest.raises(NetworkTrouble, match="makes no sense"):
        await network.messages.instances(ME)


async def test_a_name_that_leads_to_our_own_network_is_not_followed(key_path: Path, node: FakeNode) -> None:
    """A public name may resolve to a private address (rules.md 18)."""
    url = node.url.replace("127.0.0.1", "localhost")
    async with open_network(settings_for(key_path, url)) as local:
        assert await local.messages.status(HASH) is MessageStatus.UNKNOWN
    async with open_network(settings_for(key_path, url, allow_local=False)) as public:
        with pytest.raises(NetworkTrouble):
            await public.messages.status(HASH)
    assert node.asks(STATUS) == 1
