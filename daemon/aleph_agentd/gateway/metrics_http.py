"""`METRICS_PORT`: one page for Prometheus, on loopback and nowhere else. It has no names of VMs, and no way in.

HTTP as small as it can be: `GET /metrics`, one request per connection, a limit on everything.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from ..domain.metrics import CONTENT_TYPE
from ..ports import StoreTrouble

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
MAX_HEAD_BYTES = 8192
MAX_AT_ONCE = 8
PATIENCE_S = 10.0
_LOCAL = frozenset({"127.0.0.1", "localhost"})

Text = Callable[[], Awaitable[str]]


class MetricsPage:
    """Serves the text to whoever on this machine asks for it."""

    def __init__(self, port: int | None, text: Text) -> None:
        self._port, self._text = port, text
        self._open = 0
        self._trouble = ""

    def alerts(self) -> list[str]:
        """That it could not be served, in words: no reason to stop ending VMs."""
        return [f"No metrics are served: {self._trouble}."] if self._trouble else []

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Listen, if there is a port to listen on."""
        if self._port is None:
            yield
            return
        try:
            server = await asyncio.start_server(self._serve, HOST, self._port, limit=MAX_HEAD_BYTES)
        except OSError as trouble:
            self._trouble = f"port {self._port} of {HOST} cannot be used ({trouble.strerror or trouble})"
            log.warning("%s", self._trouble)
            yield
            return
        try:
            yield
        finally:
            # Its connections end by themselves: each has its patience, and the loop cancels the rest.
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                if self._open <= MAX_AT_ONCE:
                    status, body = await self._answer(reader)
                    writer.write(_response(status, body))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as gone:
            log.debug("a scrape came to nothing: %s", gone)
        finally:
            self._open -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[str, str]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        # A page of the web that gave its own name this address would carry its name here.
        if _host(head) not in _LOCAL:
            return "403 Forbidden", "This page is for this machine.\n"
        match head[0].split(" "):
            case ["GET", "/metrics", _]:
                try:
                    return "200 OK", await self._text()
                except StoreTrouble as trouble:
                    log.warning("no figures: %s", trouble)
                    return "503 Service Unavailable", "The inventory cannot be read.\n"
            case ["GET", *_]:
                return "404 Not Found", "See /metrics.\n"
            case _:
                return "405 Method Not Allowed", "GET /metrics.\n"


def _host(head: list[str]) -> str:
    for line in head[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "host":
            return value.strip().rpartition(":")[0] or value.strip()
    return ""


def _response(status: str, body: str) -> bytes:
    content = body.encode()
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    )
    return "\r\n".join([*lines, "", ""]).encode() + content
