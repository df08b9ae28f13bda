"""Logging in to the VM as its renter would. The demo's only importer of asyncssh, for where there is no ssh."""

import asyncio
import re
import shutil
from pathlib import Path

from aleph_agentd.demo.failure import DemoFailed

TIMEOUT_S = 20.0
_COMMAND = re.compile(r"ssh -p (?P<port>\d{1,5}) (?P<user>[a-z]+)@(?P<host>[0-9a-fA-F.:]+)")
_OPTIONS = (
    "BatchMode=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "IdentitiesOnly=yes",
    "LogLevel=ERROR",
    "ConnectTimeout=10",
)


def make_key(folder: Path) -> Path:
    """A fresh ed25519 key; its public half lies beside it."""
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519")
    path = folder / "id_ed25519"
    path.touch(mode=0o600)
    key.write_private_key(str(path))
    key.write_public_key(str(path.with_suffix(".pub")))
    return path


async def run_in_vm(ssh_command: str, key: Path, command: str) -> tuple[str, str]:
    """Log in the way `ssh_command` says and run a command: which client did it, and what the VM answered."""
    target = _COMMAND.fullmatch(ssh_command)
    if target is None:
        raise DemoFailed(f"the ssh_command is not one: {ssh_command!r}")
    try:
        async with asyncio.timeout(TIMEOUT_S):
            if ssh := shutil.which("ssh"):
                return "ssh", await _with_openssh(ssh, target, key, command)
            return "asyncssh", await _with_asyncssh(target, key, command)
    except TimeoutError:
        raise DemoFailed(f"`{ssh_command}` did not finish within {TIMEOUT_S:g} s") from None


async def _with_openssh(ssh: str, target: re.Match[str], key: Path, command: str) -> str:
    options = [word for option in _OPTIONS for word in ("-o", option)]
    process = await asyncio.create_subprocess_exec(
        *(ssh, "-F", "none", "-i", str(key), *options, "-p", target["port"]),
        *(f"{target['user']}@{target['host']}", command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise DemoFailed(f"ssh ended with {process.returncode}: {errors.decode(errors='replace').strip()}")
    return out.decode(errors="replace").strip()


async def _with_asyncssh(target: re.Match[str], key: Path, command: str) -> str:
    import asyncssh

    try:
        async with asyncssh.connect(
            target["host"],
            int(target["port"]),
            username=target["user"],
            client_keys=[str(key)],
            known_hosts=None,
            config=None,
        ) as connection:
            result = await connection.run(command, check=True)
    except (OSError, asyncssh.Error) as problem:
        raise DemoFailed(f"the SSH login failed: {problem}") from None
    return str(result.stdout).strip()
