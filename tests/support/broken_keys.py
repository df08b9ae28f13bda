"""Key files that hold the key, or half of it, and cannot be used: each way in which one can be broken."""

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eth_account import Account

PASSPHRASE = "correct-horse-battery-staple"
"""Of the keystores; it must be found nowhere either."""
_JUNK = {
    "x": b"x",
    "a blank": b" y",
    "NULs": b"\0",
    "lines": b"\n\n;",
    "padding": b"=",
    "high bytes": b"\xff",
}
_STRANGER = 65534
_DOOR = "open-door"


def sealed(secret: bytes, **changes: Any) -> bytes:
    """A keystore that opens with PASSPHRASE, unless its parameters are changed."""
    document = Account.encrypt(secret, PASSPHRASE, kdf="pbkdf2", iterations=1000)
    document["crypto"]["kdfparams"] |= changes
    return json.dumps(document).encode()


def contents(secret: bytes) -> dict[str, bytes]:
    """By what is wrong with them."""
    hexed, coded, store = secret.hex().encode(), base64.b64encode(secret), sealed(secret)
    found = {
        "half": secret[:16],
        "the other half": secret[16:],
        "half in hex": hexed[:32],
        "twice": secret * 2,
        "hex twice": hexed * 2,
        "hex with garbage": hexed[:40] + b"zz" + hexed[42:],
        "base64": coded,
        "decimal": str(int.from_bytes(secret)).encode(),
        "a list": json.dumps(list(secret)).encode(),
        "JSON of the key": json.dumps({"key": hexed.decode()}).encode(),
        "JSON cut short": store[:-20],
        "a keystore of version 9": store.replace(b'"version": 3', b'"version": 9'),
        "a keystore that is the key": json.dumps({"version": 3, "crypto": hexed.decode()}).encode(),
        "absurd rounds": sealed(secret, c=10**18),
        "rounds below nothing": sealed(secret, c=-1),
        "rounds in words": sealed(secret, c=hexed.decode()),
        "an absurd length": sealed(secret, dklen=10**12),
        "a salt that is the key": sealed(secret, salt=hexed.decode()),
        "lists in lists": b'{"version":' + b"[" * 2000 + hexed,
        "nothing": b"",
        "too much": hexed * 1000,
    }
    for name, junk in _JUNK.items():
        found |= {f"{name} behind": secret + junk * 3, f"{name} before": junk * 3 + hexed}
    return found


def places(secret: bytes) -> dict[str, Callable[[Path], None]]:
    """What can be in its place, besides a file of ours that nobody else can read."""

    def open_to(mode: int) -> Callable[[Path], None]:
        def plant(path: Path) -> None:
            path.write_bytes(secret)
            path.chmod(mode)

        return plant

    def foreign(path: Path) -> None:
        open_to(0o600)(path)
        os.chown(path, _STRANGER, _STRANGER)

    def link(path: Path) -> None:
        door = path.with_name(_DOOR)
        door.mkdir(exist_ok=True)
        door.chmod(0o777)
        open_to(0o600)(door / "real.key")
        path.symlink_to(door / "real.key")

    found = {f"mode {mode:o}": open_to(mode) for mode in (0o644, 0o640, 0o606, 0o777)}
    found |= {
        "a directory": Path.mkdir,
        "a FIFO": lambda path: os.mkfifo(path, 0o600),
        "a link to itself": lambda path: path.symlink_to(path),
        "a link to nowhere": lambda path: path.symlink_to("nowhere"),
        "a link through an open place": link,
    }
    return found | ({"somebody else's": foreign} if os.getuid() == 0 else {})


def plant(path: Path, content: bytes) -> None:
    """Put a file of ours there, whatever is there."""
    clear(path)
    path.write_bytes(content)
    path.chmod(0o600)


def clear(path: Path) -> None:
    """Remove what is there, and what a link led to."""
    shutil.rmtree(path.with_name(_DOOR), ignore_errors=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
