"""A CRN's list of what a VM printed: long, strange, or no list at all."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from aiohttp import web

from aleph_agentd.adapters.aleph import console
from aleph_agentd.adapters.aleph.console import KEPT, ConsoleReader
from aleph_agentd.adapters.aleph.network import Network
from aleph_agentd.ports import ConsoleLog, KeyMissing, NetworkTrouble
from support.network import HASH, FakeNode, settings_for

pytest_plugins = ["support.network_fixtures"]

LOGS = f"/control/machine/{HASH}/logs"


def entries(*lines: Any) -> list[dict[str, Any]]:
    """As a node tells them."""
    return [{"SYSLOG_IDENTIFIER": "x", "MESSAGE": line, "file": "stdout"} for line in lines]


def read(pieces: Iterable[bytes]) -> ConsoleLog:
    """Fed piece by piece, to its end."""
    reader = ConsoleReader()
    goes_on = True
    for piece in pieces:
        if not (goes_on := reader.feed(piece)):
            break
    return reader.end(whole=goes_on)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_pieces_in_which_it_comes_do_not_matter(size: int) -> None:
    """Also in the middle of a character or of an entry."""
    said = json.dumps(entries("a ✓ \x1b[1m", "b\n", 'c "]" ['), ensure_ascii=False).encode()
    expected = 'a ✓ \x1b[1m\nb\nc "]" [\n'
    assert read(said[n : n + size] for n in range(0, len(said), size)) == ConsoleLog(expected, len(expected))


def test_the_newest_is_kept_of_a_long_one_and_all_is_counted() -> None:
    """Memory is bounded by what is kept."""
    lines = [f"line {n:06}" for n in range(40_000)]
    said = json.dumps(entries(*lines)).encode()
    log = read(said[n : n + 65_536] for n in range(0, len(said), 65_536))
    assert (log.total, log.whole) == (12 * 40_000, True)
    assert KEPT <= len(log.tail) < KEPT + 100
    assert log.tail.endswith("line 039999\n")
    long = read([json.dumps(entries("x" * 200_000)).encode()])
    assert (len(long.tail), long.total) == (KEPT, 200_001)


def test_it_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read by then is shown, as not whole."""
    monkeypatch.setattr(console, "MOST_BYTES", 1000)
    piece = b"[" + b",\n".join(json.dumps(entry).encode() for entry in entries(*"abc")) + b",\n"
    log = read(piece for _ in range(10**9))
    assert not log.whole and log.tail.startswith("a\nb\nc\n")


def test_what_is_no_text_is_named() -> None:
    """A journal tells bytes as a list of numbers."""
    assert read([json.dumps(entries([1, 2], None, "x")).encode()]).tail == "[not text]\n[not text]\nx\n"
    assert read([b"[]"]) == ConsoleLog("", 0)


@pytest.mark.parametrize(
    "said",
    [b"", b"<html>", b"{", b'"x"]', b"[5]", b'[{"MESSAGE": "x"}', b"[[1]]", b'[{"a": ' + b"[" * 300_000],
)
def test_what_is_no_list_of_entries_makes_no_sense(said: bytes) -> None:
    """Nor a list without an end."""
    with pytest.raises((ValueError, RecursionError)):
        read([said])


async def test_it_is_asked_with_a_signature(node: FakeNode, network: Network) -> None:
    """A GET, with the two headers of an operation."""
    seen: list[set[str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append({"X-SignedPubKey", "X-SignedOperation"} & set(request.headers))
        return web.json_response(entries("hello"))

    node.does(LOGS, answer)
    assert await network.hosts.console(node.url, HASH) == ConsoleLog("hello\n", 6)
    assert (node.asked, len(seen[0])) == ([("GET", LOGS)], 2)


@pytest.mark.parametrize("status", [404, 405])
async def test_a_crn_that_does_not_offer_it_has_none(node: FakeNode, network: Network, status: int) -> None:
    """No such VM, or no such route."""
    node.says(LOGS, text="404: Not Found", status=status)
    assert await network.hosts.console(node.url, HASH) is None


@pytest.mark.parametrize(
    ("status", "text"), [(200, "<html>"), (302, "x"), (401, "x"), (403, "x"), (502, "x")]
)
async def test_any_other_answer_is_trouble(node: FakeNode, network: Network, status: int, text: str) -> None:
    """And no redirect is followed."""
    node.says(LOGS, text=text, status=status, Location="/elsewhere")
    with pytest.raises(NetworkTrouble):
        await network.hosts.console(node.url, HASH)
    assert node.asks("/elsewhere") == 0


async def test_an_answer_that_never_ends_costs_a_bounded_time(
    node: FakeNode, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It drips, or says nothing more."""
    monkeypatch.setattr(network.hosts, "_timeouts", _short())

    async def drips(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"[")
        await asyncio.sleep(60)
        return response

    node.does(LOGS, drips)
    with pytest.raises(NetworkTrouble, match="no answer within"):
        await network.hosts.console(node.url, HASH)


def _short() -> Any:
    from dataclasses import replace

    from support.network import SHORT

    return replace(SHORT, console_s=0.3)


async def test_without_a_key_nothing_is_asked(node: FakeNode, tmp_path: Any) -> None:
    """KeyMissing, as for every operation."""
    from aleph_agentd.adapters.aleph.network import open_network

    async with open_network(settings_for(tmp_path / "none.key", node.url)) as keyless:
        with pytest.raises(KeyMissing):
            await keyless.hosts.console(node.url, HASH)
    assert node.asked == []
