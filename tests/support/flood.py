"""A process of its own that floods agent.sock, or measures how fast another session's pings are meanwhile.

python flood.py KIND SOCKET     floods until it is killed; prints `flooding` once it has begun
python flood.py pings SOCKET    prints the median and the 99th percentile of its round trips, in seconds
"""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgpack

PINGS = 120
_PAUSE_S = 0.002
_BEGIN_S = 0.25
"""So long it floods before anything is measured: what it may do at once, it has done by then."""
_MIB = 1024 * 1024
WAITS_FOR = "mine"
"""What the open requests wait for: a VM of the flooding session's that the owner has to allow first."""

Flood = Callable[[str], Awaitable[None]]


def frame(method: str, *, id_: int = 1, **params: Any) -> bytes:
    """A request."""
    return bytes(msgpack.packb([0, id_, method, [params]]))


def _call(id_: int, tool: str, **arguments: Any) -> bytes:
    return frame("tools.call", id_=id_, name=tool, arguments=arguments)


_NESTED = {"x": [[[[n] * 9] * 9 for n in range(9)] for _ in range(10)]}
_VALUES = {"x": [{str(n): n for n in range(4000)}, list(range(5000))]}


@asynccontextmanager
async def _door(path: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _read_on(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while await reader.read(_MIB):
            pass


def stream(load: bytes, connections: int = 8, opening: bytes = b"") -> Flood:
    """The same bytes without an end; every answer is read. Who is hung up on comes back."""
    data = load * max(1, 65_536 // len(load))

    async def one(path: str) -> None:
        while True:
            with suppress(OSError):
                async with _door(path) as (reader, writer):
                    reading = asyncio.create_task(_read_on(reader))
                    writer.write(opening)
                    while not reading.done():
                        writer.write(data)
                        await writer.drain()
            await asyncio.sleep(0.001)

    return lambda path: asyncio.gather(*(one(path) for _ in range(connections)))


def lines(load: bytes) -> Flood:
    """Lines without an end, in MCP sessions."""
    return stream(load + b"\n", 4, frame("mcp.open", nonce="0" * 32))


def held(load: bytes, connections: int) -> Flood:
    """Connections that send this once, and never read nor leave."""

    async def one(path: str) -> None:
        async with _door(path) as (_, writer):
            writer.write(load)
            await asyncio.Event().wait()

    async def all_of_them(path: str) -> None:
        # Who finds the queue full is as good as refused.
        await asyncio.gather(*(one(path) for _ in range(connections)), return_exceptions=True)
        await asyncio.Event().wait()

    return all_of_them


async def _byte_by_byte(path: str) -> None:
    async def one() -> None:
        async with _door(path) as (_, writer):
            for byte in frame("ping", **_VALUES):
                writer.write(bytes([byte]))
                await asyncio.sleep(0.001)

    await asyncio.gather(*(one() for _ in range(50)))


async def _come_and_go(path: str) -> None:
    while True:
        with suppress(OSError):
            async with _door(path):
                pass
        await asyncio.sleep(0)


_OPEN = [_call(n, "aleph_wait_vm", item_hash=WAITS_FOR, timeout_s=600) for n in range(1, 65)]
_LINE = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":['

KINDS: dict[str, Flood] = {
    "10,000 open requests": held(b"".join(_OPEN), 10_000 // 64),
    "300 connections": held(b"", 300),
    "connections that come and go": _come_and_go,
    "pings without end": stream(frame("ping")),
    "frames of a megabyte": stream(_call(1, "aleph_create_vm", name="x" * (_MIB - 200))),
    "frames full of values": stream(frame("ping", **_VALUES)),
    "nested frames": stream(frame("ping", **_NESTED)),
    "malformed requests": stream(msgpack.packb([0, 1, "ping", 7])),
    "calls that are refused": stream(_call(1, "aleph_destroy_vm", item_hash="0" * 64)),
    "nonsense, again and again": stream(b"\xc1" * 100),
    "a byte at a time": _byte_by_byte,
    "answers that are never read": held(frame("tools.list") * 2000, 20),
    "sessions of MCP": held(frame("mcp.open", nonce="0" * 32), 80),
    "lines of a megabyte": lines(_LINE + b"1," * (_MIB // 2 - 100) + b"1]}}"),
    "lines that are nothing": lines(b"{}\n[]\nx"),
}


def pings(door: socket.socket) -> tuple[float, float]:
    """One at a time."""
    taken, ping = [], frame("ping")
    for _ in range(PINGS):
        time.sleep(_PAUSE_S)
        began = time.perf_counter()
        door.sendall(ping)
        assert door.recv(4096)
        taken.append(time.perf_counter() - began)
    taken.sort()
    return taken[PINGS // 2], taken[PINGS * 99 // 100]


async def main(kind: str, path: str) -> None:
    """Flood until killed."""
    os.nice(19)  # what it takes of the processor is its own machine's affair
    flooding = asyncio.ensure_future(KINDS[kind](path))
    await asyncio.wait([flooding], timeout=_BEGIN_S)
    print("flooding", flush=True)
    await flooding


if __name__ == "__main__":
    what, where = sys.argv[1:]
    if what == "pings":
        with socket.socket(socket.AF_UNIX) as session:
            session.settimeout(30)
            session.connect(where)
            for _ in sys.stdin:
                print(*pings(session), flush=True)
    else:
        asyncio.run(main(what, where))
