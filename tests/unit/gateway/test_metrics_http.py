"""The page that Prometheus reads, over real HTTP; and what else may knock at its port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from aleph_agentd.gateway import metrics_http
from aleph_agentd.gateway.metrics_http import HOST, MAX_AT_ONCE, MAX_HEAD_BYTES, MetricsPage
from aleph_agentd.ports import StoreTrouble


async def _text() -> str:
    return "# HELP a A.\n# TYPE a gauge\na 1\n"


@pytest.fixture
def port() -> int:
    """One that nobody uses."""
    with socket.socket() as door:
        door.bind((HOST, 0))
        return int(door.getsockname()[1])


@pytest.fixture
async def page(port: int) -> AsyncIterator[str]:
    """The page of a daemon; its address."""
    async with MetricsPage(port, _text).served():
        yield f"http://{HOST}:{port}"


async def _get(url: str, **more: object) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.request("GET", url, **more) as response:  # type: ignore[arg-type]
        return response.status, response.headers["Content-Type"], await response.text()


async def test_prometheus_reads_the_page(page: str) -> None:
    """With the type that it asks for."""
    status, kind, text = await _get(f"{page}/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert [family.name for family in text_string_to_metric_families(text)] == ["a"]


async def test_there_is_one_page_and_no_other(page: str) -> None:
    """And nothing that could be changed."""
    assert (await _get(f"{page}/"))[0] == 404
    async with aiohttp.ClientSession() as session, session.post(f"{page}/metrics", data=b"x") as response:
        assert response.status == 405


async def test_a_page_of_the_web_that_calls_itself_this_machine_is_refused(page: str) -> None:
    """A browser would show it what this machine spends: its own name is in the request."""
    assert (await _get(f"{page}/metrics", headers={"Host": "evil.example:9464"}))[0] == 403


async def test_nothing_but_loopback_listens(page: str) -> None:
    """Whoever has the machine's other addresses finds no door."""
    port = int(page.rpartition(":")[2])
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.2", port)


@pytest.mark.parametrize("sent", [b"G", b"\x00" * 100, b"A" * (MAX_HEAD_BYTES * 2), b""])
async def test_whoever_sends_no_request_is_hung_up_on(
    page: str, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its patience, or at once when it is too much."""
    monkeypatch.setattr(metrics_http, "PATIENCE_S", 0.05)
    reader, writer = await asyncio.open_connection(HOST, int(page.rpartition(":")[2]))
    writer.write(sent)
    with suppress(ConnectionResetError):  # it may be closed with bytes unread
        assert await reader.read() == b""
    writer.close()


async def test_idle_connections_do_not_add_up(page: str) -> None:
    """The ninth is closed at once; when one goes, the next scrape is answered."""
    port = int(page.rpartition(":")[2])
    idle = [await asyncio.open_connection(HOST, port) for _ in range(MAX_AT_ONCE)]
    reader, writer = await asyncio.open_connection(HOST, port)
    assert await reader.read() == b""
    writer.close()
    for _, other in idle:
        other.close()
        await other.wait_closed()
    async with asyncio.timeout(5):
        while True:
            try:
                assert (await _get(f"{page}/metrics"))[0] == 200
                break
            except aiohttp.ClientError:
                continue


async def test_a_port_that_is_taken_stops_nothing_and_is_told(port: int) -> None:
    """Ending VMs on time matters more than being watched."""
    with socket.socket() as other:
        other.bind((HOST, port))
        other.listen()
        page = MetricsPage(port, _text)
        async with page.served():
            [alert] = page.alerts()
    assert f"port {port}" in alert


async def test_without_a_port_nothing_listens() -> None:
    """The default."""
    page = MetricsPage(None, _text)
    async with page.served():
        assert page.alerts() == []


async def test_an_inventory_that_cannot_be_read_is_an_answer_too(port: int) -> None:
    """Prometheus sees the daemon as down, and its alert fires; no traceback, no silence."""

    async def broken() -> str:
        raise StoreTrouble("the disk is away")

    async with MetricsPage(port, broken).served():
        status, _, text = await _get(f"http://{HOST}:{port}/metrics")
    assert (status, text) == (503, "The inventory cannot be read.\n")
