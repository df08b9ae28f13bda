"""A secret that lies in a file of the owner's, or comes as a credential of systemd's."""

import os
from pathlib import Path

_OTHERS_READ = 0o077


class SecretTrouble(Exception):
    """It cannot be used; the message says why, in one line, and shows nothing of it."""


def read_secret(path: Path | None, *, setting: str, credential: str, least: int, most: int) -> bytes:
    """The secret without the line's end. Raises SecretTrouble.

    `setting` is what names the file, `credential` what systemd calls it; `least` and `most` are bytes.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if path is None and credentials:
        return _read(Path(credentials) / credential, least, most, ours=False)
    if path is None:
        raise SecretTrouble(f"no {setting} is set, and there is no credential {credential}")
    return _read(path, least, most, ours=True)


def _read(path: Path, least: int, most: int, *, ours: bool) -> bytes:
    try:
        # O_NONBLOCK: a FIFO in its place must not hang the daemon.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if ours and os.fstat(handle).st_mode & _OTHERS_READ:
                raise SecretTrouble(f"others can read {path}: chmod 600 {path}")
            secret = file.read(most + 1).strip()
    except OSError as trouble:
        raise SecretTrouble(f"{path}: {trouble.strerror}") from None
    if not least <= len(secret) <= most:
        raise SecretTrouble(f"{path} must hold {least} to {most} bytes")
    return secret
