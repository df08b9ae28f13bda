"""The demo's own world: a temporary directory, a local network and a daemon in it, and nothing of the user's."""

import asyncio
import json
import os
import shlex
import shutil
import site
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aleph_agentd import runtime_dir
from aleph_agentd.demo.failure import DemoFailed
from aleph_agentd.demo.login import make_key
from aleph_agentd.demo.program import Program, running
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import open_client

READY_S = 30.0
PAUSE_S = 0.1
SAFE_PATH = 100
"""Bytes of a socket's path that every Unix takes."""


@dataclass(frozen=True)
class Stage:
    """What the story needs to know of it."""

    folder: Path
    runtime: Path
    key: Path
    network: dict[str, Any]
    """The ready line of aleph-devnet."""
    daemon: Program

    def shim_env(self) -> dict[str, str]:
        """What an agent's MCP configuration would give the shim."""
        return {
            **_bare_env(self.folder),
            runtime_dir.VARIABLE: str(self.runtime),
            "ALEPH_AGENT_AUTOSTART": "0",
        }

    async def ask_daemon(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Ask on the human's socket."""
        async with open_client(self.runtime / runtime_dir.CONTROL_SOCKET) as client:
            answer: dict[str, Any] = await client.call(method, params)
            return answer


@asynccontextmanager
async def set_up() -> AsyncIterator[Stage]:
    """Start the network and the daemon; all of it is gone when the block ends."""
    with _temporary_folder() as folder:
        env, runtime, network_dir = _bare_env(folder), folder / "run", folder / "net"
        key = make_key(folder)
        # The SDK and the MCP package take a second each to import: the network starts meanwhile.
        async with running(
            "aleph-devnet",
            _python("aleph_devnet", "run", "--port", "0", "--dir", str(network_dir)),
            env,
            folder,
        ) as devnet:
            network = json.loads(await devnet.first_line(READY_S))
            env |= await _network_env(network_dir, env)
            env |= {
                runtime_dir.VARIABLE: str(runtime),
                "ALEPH_AGENT_SSH_PUBKEY_PATH": str(key.with_suffix(".pub")),
                "ALEPH_AGENT_INVENTORY_PATH": str(folder / "inventory.db"),
            }
            async with running("aleph-agentd", _python("aleph_agentd", "run"), env, folder) as daemon:
                await wait_until_ready(daemon, runtime)
                yield Stage(folder, runtime, key, network, daemon)


async def wait_until_ready(daemon: Program, runtime: Path) -> None:
    """Until the daemon answers on the human's socket."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_S
    while True:
        try:
            async with open_client(runtime / runtime_dir.CONTROL_SOCKET) as client:
                await client.call("ping", {}, READY_S)
                return
        except Refusal as problem:
            if not daemon.alive:
                raise DemoFailed(f"{daemon.name} ended before it was ready{daemon.last_words()}") from None
            if loop.time() > deadline:
                raise DemoFailed(f"{daemon.name} is not ready: {problem}{daemon.last_words()}") from None
        await asyncio.sleep(PAUSE_S)


def _python(module: str, *arguments: str) -> list[str]:
    """Our programs by module: their scripts need not be on anybody's PATH."""
    return [sys.executable, "-m", module, *arguments]


def _bare_env(folder: Path) -> dict[str, str]:
    """An environment in which nothing of the user's is found or changed."""
    home = folder / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    env = {
        "HOME": str(home),
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "TMPDIR": str(folder),
        # A package installed with `pip install --user` is found through HOME, which is another one here.
        "PYTHONUSERBASE": site.getuserbase(),
    }
    for kind in ("CONFIG", "STATE", "DATA", "CACHE"):
        env[f"XDG_{kind}_HOME"] = str(home / kind.lower())
    return env


async def _network_env(network_dir: Path, env: dict[str, str]) -> dict[str, str]:
    """What `eval "$(aleph-devnet env)"` would set."""
    process = await asyncio.create_subprocess_exec(
        *_python("aleph_devnet", "env", "--dir", str(network_dir)), env=env, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    words = shlex.split(out.decode())
    return dict(word.split("=", 1) for word in words if "=" in word)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="aleph-demo-"))
    if len(os.fsencode(folder / "run" / runtime_dir.CONTROL_SOCKET)) >= SAFE_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="aleph-demo-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
