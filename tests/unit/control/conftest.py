"""A daemon that says what a test wants, on a real control socket, and the CLI run against it."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.control import terminal
from aleph_agentd.control.__main__ import main
from aleph_agentd.gateway.rpc.connection import Connection
from aleph_agentd.gateway.rpc.server import RpcServer
from aleph_agentd.gateway.rpc.sockets import bind

Answerer = Callable[[Connection, dict[str, Any]], Any]


class FakeDaemon:
    """Answers each method as told, on a loop of its own, and remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._methods: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def says(self, method: str, answer: Any) -> None:
        """Answer a method with a value, with what a function makes of the request, or with a Refusal."""

        def handler(connection: Connection, params: dict[str, Any]) -> Any:
            self.asked.append((method, params))
            if isinstance(answer, Exception):
                raise answer
            return answer(connection, params) if callable(answer) else answer

        self._methods[method] = handler

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._run(self._listen())

    async def _listen(self) -> None:
        self._server = RpcServer()
        await self._server.listen(bind(self.path), self._methods, human=True)

    def stop(self) -> None:
        """Hang up on everybody."""
        self._run(self._server.close(drain_s=1))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)


class Cli:
    """Runs aleph-agentctl in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def run(self, *arguments: str) -> int:
        """One command; what it printed is in `out` and `err`."""
        code = main(arguments)
        self.out, self.err = self._capsys.readouterr()
        return code

    @property
    def json(self) -> Any:
        """Stdout as the one JSON document that it is."""
        return json.loads(self.out)


@pytest.fixture
def runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory of the test's own, which the CLI looks in."""
    monkeypatch.setenv("ALEPH_AGENT_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    return tmp_path


@pytest.fixture
def daemon_at() -> Iterator[Callable[[Path], FakeDaemon]]:
    """Makes fake daemons that listen at a path."""
    with ExitStack() as stack:

        def start(path: Path) -> FakeDaemon:
            fake = FakeDaemon(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            fake.start()
            stack.callback(fake.stop)
            return fake

        yield start


@pytest.fixture
def daemon(runtime_dir: Path, daemon_at: Callable[[Path], FakeDaemon]) -> FakeDaemon:
    """A fake daemon that listens where the CLI looks."""
    return daemon_at(runtime_dir / "control.sock")


@pytest.fixture
def cli(runtime_dir: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The CLI, pointed at the test's runtime directory."""
    return Cli(capsys)


def vm(name: str = "web", **changes: Any) -> dict[str, Any]:
    """A VmView."""
    return {
        "item_hash": name.encode().hex().ljust(64, "0")[:64],
        "name": name,
        "status": "running",
        "crn_url": "https://crn.example",
        "crn_name": "NtS9",
        "uptime_minutes": 125.0,
        "cost_so_far": 2.97,
        "cost_so_far_usd": 0.0297,
        "hourly_cost": 1.425,
        "hourly_cost_usd": 0.01425,
        "ttl_expires_at": "2026-11-23T12:00:00Z",
        "expires_in": "1 h 55 min",
        "ssh_command": "ssh -p 24000 root@127.0.0.2",
        "expired": False,
        "compute_units": 1,
        "purpose": "build",
        "mine": False,
        "note": "",
    } | changes


@pytest.fixture
def make_vm() -> Callable[..., dict[str, Any]]:
    """Makes VmViews."""
    return vm


@pytest.fixture
def typed(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner, who has a passphrase and types it; how it is asked for is told in test_passphrase.py."""
    daemon.says("passphrase.state", {"set": True})
    monkeypatch.setattr(terminal, "ask_passphrase", lambda *_: "open sesame")
