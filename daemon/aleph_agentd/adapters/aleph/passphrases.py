"""Where the passphrase of a keystore comes from when nobody types it to us: systemd."""

import asyncio
import os
from pathlib import Path

from ...ports import KeyMissing
from .key_file import read_private

CREDENTIAL = "aleph-agentd.passphrase"
_ASK = Path("/usr/bin/systemd-ask-password")
_ASK_S = 120


def credential() -> str | None:
    """The passphrase that systemd hands over as a credential; None when there is none."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory or not (Path(directory) / CREDENTIAL).exists():
        return None
    try:
        return read_private(Path(directory) / CREDENTIAL).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise KeyMissing(f"The credential {CREDENTIAL} is not text.") from None


async def ask() -> str | None:
    """What the agents of `systemd-ask-password` were told; None when nobody answered. Ends when cancelled."""
    if os.isatty(0):
        return None
    try:
        # Not in a thread: a daemon that stops would wait for it.
        process = await asyncio.create_subprocess_exec(
            _ASK,
            "--no-tty",
            f"--timeout={_ASK_S}",
            "--id=aleph-agentd",
            "Passphrase of aleph-agentd's key:",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        answer, _ = await process.communicate()
        return answer.decode().rstrip("\n") or None if process.returncode == 0 else None
    except UnicodeDecodeError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
