"""A daemon of one's own: `aleph-agentd run` as a subprocess, on a devnet and with an account of its own.

    with DaemonProcess(net) as daemon:
        vm = await daemon.call("aleph_create_vm", {"name": "box"})
        daemon.kill()
        daemon.start()

What starts and stops it blocks; what asks it is async. The truth comes from the devnet, never from here.
"""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from inspect import isawaitable
from pathlib import Path
from typing import Any, Self

import msgpack
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_account import Account

from aleph_agentd.gateway.rpc.client import Client, open_client
from support.devnet import DevnetProcess

READY_S = 40.0
STOP_S = 75.0
WITHIN_S = 40.0
POLL_S = 0.1
BILLED = ("pending", "processed", "removing")
RICH_UNITS = 100_000_000
"""10,000 credits: a guard of 20 % lets everything pass that a test does not forbid."""


class NotReady(Exception):
    """The daemon ended before it answered, or never answered."""


class DaemonProcess:
    """One daemon with its own home, state, sockets, SSH key and (unless a `role` is named) a funded account."""

    ready_s = READY_S

    def __init__(
        self,
        net: DevnetProcess,
        *,
        role: str | None = None,
        units: int = RICH_UNITS,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        self.net = net
        # Not pytest's own directory: a socket's path may have 107 bytes only.
        self.folder = Path(tempfile.mkdtemp(prefix="agentd-"))
        self.home, self.runtime = self.folder / "home", self.folder / "run"
        (self.home / ".ssh").mkdir(parents=True)
        self.ssh_key = self.home / ".ssh" / "id_ed25519"
        write_ssh_key(self.ssh_key)
        self.key_file = self._key(role, units)
        self.address = str(Account.from_key(self.key_file.read_bytes()).address)
        self.environment = self._environment(environment or {})
        self.flags: tuple[str, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def _key(self, role: str | None, units: int) -> Path:
        if role is not None:
            return Path(self.net.account(role)["key_file"])
        path = self.folder / "ethereum.key"
        path.write_bytes(secrets.token_bytes(32))
        path.chmod(0o600)
        if units:
            self.net.credits(units, address=str(Account.from_key(path.read_bytes()).address))
        return path

    def _environment(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not _is_ours(name)}
        wanted: dict[str, str | None] = {
            **inherited,
            **self.net.environment(),
            "ALEPH_AGENT_PRIVATE_KEY_PATH": str(self.key_file),
            "ALEPH_AGENT_RUNTIME_DIR": str(self.runtime),
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.folder / "state"),
            **changes,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    # ------------------------------------------------------------------ its life

    def start(self) -> Self:
        """Start it and wait until agent.sock answers."""
        self.spawn()
        deadline = time.monotonic() + self.ready_s
        while not self._answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NotReady(f"the daemon did not start: {self.log()}")
            time.sleep(POLL_S)
        return self

    def spawn(self) -> None:
        """Start it and do not wait."""
        with (self.folder / "daemon.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "aleph_agentd", "run", *self.flags],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self, seconds: float = READY_S) -> int:
        """Wait until it has ended by itself; its exit code."""
        assert self._process is not None
        process = self._process
        code = process.wait(seconds)
        self._process = None
        return code

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as door:
                door.settimeout(5)
                door.connect(str(self.agent_socket))
                door.sendall(msgpack.packb([0, 1, "ping", [{}]]))
                return bool(door.recv(4096))
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL: nothing is said good-bye to."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; waits until it has drained, and returns its exit code."""
        return self._end(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Send a signal and do not wait."""
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(STOP_S)
        finally:
            process.kill()
            process.wait()

    def restart(self) -> Self:
        """Kill it and start it again."""
        self.kill()
        return self.start()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Kill it and remove all that it wrote; pytest shows its log when the test failed."""
        self.kill()
        print(self.log(), file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ asking it

    @property
    def agent_socket(self) -> Path:
        """For agents."""
        return self.runtime / "agent.sock"

    @property
    def control_socket(self) -> Path:
        """For the human."""
        return self.runtime / "control.sock"

    @property
    def database(self) -> Path:
        """Its inventory."""
        return self.folder / "state" / "aleph-agentd" / "inventory.db"

    def open(self) -> AbstractAsyncContextManager[Client]:
        """A connection to agent.sock."""
        return open_client(self.agent_socket)

    async def call(
        self, tool: str, arguments: dict[str, Any] | None = None, request_key: str | None = None
    ) -> dict[str, Any]:
        """Call a tool as an agent; raises the daemon's Refusal."""
        async with self.open() as client:
            return await call_tool(client, tool, arguments, request_key)

    async def control(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call a method of control.sock."""
        async with open_client(self.control_socket) as client:
            return dict(await client.call(method, params or {}))

    async def rows(self, which: str = "all") -> list[dict[str, Any]]:
        """What the inventory says, newest first: live, ended or all."""
        return list((await self.control("vms.list", {"which": which, "limit": 200}))["vms"])

    async def row(self, reference: str) -> dict[str, Any]:
        """One VM of the inventory."""
        return await self.control("vms.get", {"item_hash": reference})

    def log(self) -> str:
        """Everything that it said."""
        path = self.folder / "daemon.log"
        return path.read_text() if path.exists() else ""

    def shim_environment(self) -> dict[str, str]:
        """For `python -m aleph_agent_mcp`: where the daemon listens, and nothing that starts another one."""
        inherited = {name: value for name, value in os.environ.items() if not _is_ours(name)}
        return {
            **inherited,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "ALEPH_AGENT_RUNTIME_DIR": str(self.runtime),
            "ALEPH_AGENT_AUTOSTART": "0",
        }

    # ------------------------------------------------------------------ the truth about it

    def instances(self, status: str | None = None) -> list[dict[str, Any]]:
        """The INSTANCE messages that the network has of its key."""
        return [m for m in self._mine(self.net.state()) if status in (None, m["status"])]

    def live_instances(self) -> list[str]:
        """The hashes of those that the network bills."""
        return [m["item_hash"] for m in self.instances() if m["status"] in BILLED]

    def running(self) -> list[str]:
        """Those that some CRN holds."""
        return self._running(self.net.state())

    def leaves_nothing(self) -> bool:
        """Nothing billed, nothing on a CRN."""
        state = self.net.state()
        billed = any(m["status"] in BILLED for m in self._mine(state))
        return not billed and not self._running(state)

    def _mine(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        return [m for m in state["messages"] if (m["type"], m["sender"]) == ("INSTANCE", self.address)]

    def _running(self, state: dict[str, Any]) -> list[str]:
        held = {item_hash for crn in state["crns"].values() for item_hash in crn["vms"]}
        return [m["item_hash"] for m in self._mine(state) if m["item_hash"] in held]


def _is_ours(name: str) -> bool:
    return name.startswith(("ALEPH_", "XDG_")) or name == "NOTIFY_SOCKET"


async def call_tool(
    client: Client, tool: str, arguments: dict[str, Any] | None = None, request_key: str | None = None
) -> dict[str, Any]:
    """`tools.call` on an open connection."""
    params = {"name": tool, "arguments": arguments or {}, "request_key": request_key}
    return dict(await client.call("tools.call", params, 90))


async def eventually(look: Callable[[], Any], what: str = "", within_s: float = WITHIN_S) -> Any:
    """The first true result of `look` (which may be async), or a failure that says what was waited for."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        found = look()
        if isawaitable(found):
            found = await found
        if found:
            return found
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what or look}")
        await asyncio.sleep(POLL_S)


@lru_cache
def _ssh_pair() -> tuple[bytes, bytes]:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, public


def write_ssh_key(path: Path) -> None:
    """A key pair, the same one for a whole test run."""
    private, public = _ssh_pair()
    path.write_bytes(private)
    path.chmod(0o600)
    path.with_suffix(".pub").write_bytes(public + b" tester@example\n")
