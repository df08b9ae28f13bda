"""A stand-in daemon that speaks the RPC handshake and a little MCP, and the shim as a real subprocess."""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

Line = dict[str, Any]
PATIENCE = 20.0
MODERN = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
TOOLS = [{"name": "aleph_x", "inputSchema": {"type": "object"}}]


class FakeDaemon:
    """Listens on a Unix socket; what it was told is in `opens` and `lines`, one list per connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opens: queue.Queue[Any] = queue.Queue()
        self.lines: list[list[Line]] = []
        self.raw_bytes = 0
        self.ended = threading.Event()
        self.open_error: Any = None
        self.handle: Callable[[Line], list[Line] | None] = answer
        self._connections: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def start(self) -> "FakeDaemon":
        """Listen, on a fresh socket."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Vanish, as a killed process does: the socket file stays."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.drop()

    def drop(self) -> None:
        """Break every connection."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def push(self, message: Line) -> None:
        """Say something unasked on the newest connection."""
        self._connections[-1].sendall(json.dumps(message).encode() + b"\n")

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            unpacker = msgpack.Unpacker()
            request = None
            while request is None:
                unpacker.feed(connection.recv(65536))
                request = next(unpacker, None)
            self.opens.put(request)
            connection.sendall(
                msgpack.packb([1, 1, self.open_error, None if self.open_error else {"ok": True}])
            )
            if self.open_error:
                connection.close()
                return
            self._speak(connection)
        except OSError:
            pass

    def _speak(self, connection: socket.socket) -> None:
        told: list[Line] = []
        self.lines.append(told)
        for raw in connection.makefile("rb"):
            self.raw_bytes += len(raw)
            line = json.loads(raw)
            told.append(line)
            answers = self.handle(line)
            if answers is None:
                connection.shutdown(socket.SHUT_RDWR)
                return
            for message in answers:
                connection.sendall(json.dumps(message).encode() + b"\n")
        self.ended.set()
        connection.close()


def answer(line: Line) -> list[Line]:
    """What a healthy daemon says."""
    if "id" not in line or "method" not in line:
        return []
    results: dict[str, Any] = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": {}, "instructions": "Rent well."},
        "tools/list": {"tools": TOOLS},
        "tools/call": {"content": [{"type": "text", "text": "done"}]},
    }
    return [{"jsonrpc": "2.0", "id": line["id"], "result": results.get(line["method"], {})}]


class Shim:
    """`python -m aleph_agent_mcp` as a client sees it; `patch` is Python run in it first."""

    def __init__(self, env: dict[str, str], patch: str = "", cwd: Path | None = None) -> None:
        run = f"{patch}\nfrom aleph_agent_mcp.__main__ import main\nmain()"
        program = ["-c", run] if patch else ["-m", "aleph_agent_mcp"]
        self.process = subprocess.Popen(
            [sys.executable, *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], **env},
            cwd=cwd,
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._reader: threading.Thread | None = None

    def send(self, method: str, id_: Any = None, **params: Any) -> None:
        """Write one message; without an id, a notification."""
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.write(json.dumps(message if id_ is None else {**message, "id": id_}).encode() + b"\n")

    def write(self, data: bytes) -> None:
        self.stdin.write(data)
        self.stdin.flush()

    def next(self, timeout: float = PATIENCE) -> Line:
        """The next message that the shim gives to the client."""
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        line: Line = json.loads(self._answers.get(timeout=timeout))
        return line

    def _read(self) -> None:
        for line in self.stdout:
            self._answers.put(line)

    def ask(self, method: str, id_: Any, **params: Any) -> Line:
        """Send a request and give the next message back."""
        self.send(method, id_, **params)
        return self.next()

    def shake(self) -> None:
        """The handshake of the legacy era."""
        assert self.ask("initialize", 0, protocolVersion="2025-06-18", capabilities={})["id"] == 0
        self.send("notifications/initialized")

    def end(self) -> tuple[int, str]:
        """Close stdin; returns the exit status and what was said on stderr."""
        self.stdin.close()
        status = self.process.wait(PATIENCE)
        assert self.process.stderr
        return status, self.process.stderr.read().decode()


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment whose socket and cache are the test's own."""
    return {
        "ALEPH_AGENT_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
    }


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    """A daemon that listens where `env` says."""
    made = FakeDaemon(tmp_path / "run" / "agent.sock").start()
    yield made
    made.stop()


@pytest.fixture
def absent(tmp_path: Path) -> Iterator[FakeDaemon]:
    """The same, but it has yet to be started."""
    made = FakeDaemon(tmp_path / "run" / "agent.sock")
    yield made
    made.stop()


@pytest.fixture
def launch(env: dict[str, str]) -> Iterator[Callable[..., Shim]]:
    """Starts shims, and ends those that the test left."""
    made: list[Shim] = []

    def start(patch: str = "", cwd: Path | None = None, **more: str) -> Shim:
        made.append(Shim({**env, **more}, patch, cwd))
        return made[-1]

    yield start
    for shim in made:
        if shim.process.poll() is None:
            shim.process.send_signal(signal.SIGKILL)
        shim.process.wait()
        for stream in (shim.process.stdin, shim.process.stdout, shim.process.stderr):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
