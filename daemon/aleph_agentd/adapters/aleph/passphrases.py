"""Where the passphrase of a keystore comes from when nobody types it to us: systemd."""

import os
import subprocess
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


def ask() -> str | None:
    """What the agents of `systemd-ask-password` were told; None when nobody answered. Waits: use a thread."""
    if not _ASK.exists() or os.isatty(0):
        return None
    command = [
        str(_ASK),
        "--no-tty",
        f"--timeout={_ASK_S}",
        "--id=aleph-agentd",
        "Passphrase of aleph-agentd's key:",
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_ASK_S + 5,
            check=True,
        )
        return done.stdout.decode().rstrip("\n") or None
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
