"""An account of its own for a test, by mounts that only the test's processes see.

The shim starts a daemon for the account that it runs under, whatever its environment says. So that this can
be tried without touching the real account, its home and `/run` are covered by empty ones first. Run inside
a fresh mount and PID namespace; with its end everything is gone, processes included.
"""

import asyncio
import json
import os
import pwd
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtT6fOWe4wqZpVvMJ0sKxkC9bBKfyoGJkTtC4e6wqXX\n"
MADE_BY_THE_TEST = "# made by tests/clients\n"


def unshare_command() -> list[str]:
    """What begins a command inside the namespaces; a user other than root becomes root in one of its own."""
    return UNSHARE if os.geteuid() == 0 else [*UNSHARE, "--map-root-user"]


def why_not() -> str:
    """Why this machine does not allow such namespaces; empty when it does."""
    if shutil.which("unshare") is None:
        return "there is no unshare"
    probe = [*unshare_command(), "mount", "-t", "tmpfs", "tmpfs", "/run"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return done.stderr.strip() or ("" if done.returncode == 0 else f"unshare ends with {done.returncode}")


def cover_account(scratch: Path) -> Path:
    """Empty folders over the account's home and `/run`; the interpreter and the sources stay visible."""
    home, saved = Path(pwd.getpwuid(os.getuid()).pw_dir), scratch / "saved"
    saved.mkdir()
    _mount("--rbind", str(home), str(saved))
    _mount("-t", "tmpfs", "tmpfs", str(home))
    _mount("-t", "tmpfs", "tmpfs", "/run")
    for path in {Path(sys.base_prefix), Path(sys.prefix), Path(__file__).parents[2], scratch}:
        if path.is_relative_to(home):
            path.mkdir(parents=True, exist_ok=True)
            _mount("--rbind", str(saved / path.relative_to(home)), str(path))
    Path("/run/user", str(os.getuid())).mkdir(parents=True, mode=0o700)
    return home


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def configure(home: Path, environment: dict[str, str]) -> None:
    """The owner's config.toml and SSH key, in the new home."""
    folder = home / ".config" / "aleph-agentd"
    folder.mkdir(parents=True)
    settings = {name.removeprefix("ALEPH_AGENT_").lower(): value for name, value in environment.items()}
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
    (folder / "config.toml").write_text(MADE_BY_THE_TEST + "".join(lines))
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519.pub").write_text(PUBLIC_KEY)


async def ask(tool: str) -> dict[str, Any]:
    """One call in a session of its own, and which daemon was there afterwards."""
    shim = StdioServerParameters(command=sys.executable, args=["-m", "aleph_agent_mcp"], cwd="/")
    async with Client(stdio_client(shim), read_timeout_seconds=60) as client:
        result = await client.call_tool(tool, {})
        return {"is_error": result.is_error, "answer": result.structured_content, "daemon": daemon()}


def daemon() -> dict[str, Any]:
    """The process that listens on the account's default socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"/run/user/{os.getuid()}/aleph-agentd/agent.sock")
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = struct.unpack("3i", credentials)[0]
    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:-1]
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")[:-1]
    return {
        "pid": pid,
        "command": [part.decode() for part in command],
        "variables": sorted(variable.decode().partition("=")[0] for variable in variables),
    }


async def main(scratch: Path, environment: dict[str, str]) -> None:
    """Two sessions, one after the other, where nothing runs at first; prints what each of them got."""
    configure(cover_account(scratch), environment)
    print(json.dumps([await ask("aleph_check_balance"), await ask("aleph_list_crns")]))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
