"""A process of its own that floods agent.sock, or measures how fast another session's pings are meanwhile.

python flood.py KIND SOCKET     floods until it is killed; prints `flooding` once it has begun
python flood.py pings SOCKET    prints the median and the 99th percentile of its round trips, in seconds
"""

import os
import selectors
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgpack

PINGS = 40
_PAUSE_S = 0.05


def frames(count: int, method: str, **params: Any) -> bytes:
    """Requests, one after another."""
    return b"".join(msgpack.packb([0, n, method, [params]]) for n in range(1, count + 1))


_NOBODY = {"name": "aleph_wait_vm", "arguments": {"item_hash": "0" * 64}}
_NESTED = b'{"jsonrpc":"2.0","id":1,"method":' + b"[" * 4000 + b"\n"

KINDS: dict[str, tuple[int, Callable[[], bytes]]] = {
    "10,000 open requests": (1, lambda: frames(10_000, "tools.call", **_NOBODY)),
    "pings without end": (4, lambda: frames(1000, "ping")),
    "frames of a megabyte": (4, lambda: frames(1, "ping", x="x" * 1_000_000)),
    "300 connections": (300, lambda: frames(1, "hello")),
    "a few bytes at a time": (50, lambda: b"\x94\x00\x01\xa4ping\x91\x81\xa1x\xda\xff\xff"),
    "nonsense, again and again": (50, lambda: b"\x94"),
    "sessions of MCP": (80, lambda: frames(1, "mcp.open", nonce="0" * 32) + _NESTED),
}
"""How many connections send what, again and again, and never read; who is hung up on comes back."""


def flood(path: str, connections: int, load: bytes) -> None:
    """Send as fast as it is taken, on all connections in turn."""
    os.nice(19)  # what it takes of the processor is its own machine's affair
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        _connect(selector, path, load)
    print("flooding", flush=True)
    while True:
        for key, _ in selector.select(0.1):
            door = key.fileobj
            assert isinstance(door, socket.socket)
            left: memoryview = key.data
            try:
                left = left[door.send(left) :]
            except BlockingIOError:
                continue
            except OSError:
                selector.unregister(door)
                door.close()
                time.sleep(0.001)
                _connect(selector, path, load)
                continue
            selector.modify(door, selectors.EVENT_WRITE, left if left else memoryview(load))
        while len(selector.get_map()) < connections:
            time.sleep(0.001)
            _connect(selector, path, load)


def _connect(selector: selectors.BaseSelector, path: str, load: bytes) -> None:
    door = socket.socket(socket.AF_UNIX)
    door.settimeout(5)
    with suppress(OSError):
        door.connect(path)
    door.setblocking(False)
    selector.register(door, selectors.EVENT_WRITE, memoryview(load))


def pings(door: socket.socket) -> tuple[float, float]:
    """One at a time, in a pace that no limit minds."""
    taken, frame = [], frames(1, "ping")
    for _ in range(PINGS):
        time.sleep(_PAUSE_S)
        began = time.perf_counter()
        door.sendall(frame)
        assert door.recv(4096)
        taken.append(time.perf_counter() - began)
    taken.sort()
    return taken[PINGS // 2], taken[PINGS * 99 // 100]


if __name__ == "__main__":
    what, where = sys.argv[1:]
    if what == "pings":
        with socket.socket(socket.AF_UNIX) as session:
            session.settimeout(30)
            session.connect(where)
            for _ in sys.stdin:
                print(*pings(session), flush=True)
    else:
        how_many, make = KINDS[what]
        flood(where, how_many, make())
