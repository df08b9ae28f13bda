"""The key file: read when it is first needed, never made, never written."""

import os
import re
import stat
from pathlib import Path

from ...ports import KeyMissing
from .account import KeyAccount

_MAX_BYTES = 4096
_RAW_BYTES = 32
_HEX = re.compile(rb"(?:0[xX])?([0-9a-fA-F]{64})")
_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class KeyFile:
    """The key that signs. A file that is put right later is found; a key once loaded is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._account: KeyAccount | None = None

    def account(self) -> KeyAccount:
        """The account of the key. Raises KeyMissing. The first call takes a quarter of a second."""
        if self._account is None:
            self._account = KeyAccount(load_secret(self._path))
        return self._account

    @property
    def trouble(self) -> str:
        """Why there is no usable key, in one line; empty when there is one."""
        if self._account is not None:
            return ""
        try:
            load_secret(self._path)
        except KeyMissing as missing:
            return str(missing)
        return ""


def load_secret(path: Path) -> bytes:
    """The 32 bytes of a private key: raw, as the official CLI writes them, or hex with or without `0x`."""
    if not path.is_absolute():
        raise KeyMissing(f"The key file {path} must be given as an absolute path.")
    secret = _parse(path, _read_private(path))
    if not 0 < int.from_bytes(secret) < _SECP256K1_ORDER:
        raise KeyMissing(f"The key file {path} does not hold a valid private key.")
    return secret


def _read_private(path: Path) -> bytes:
    try:
        # O_NONBLOCK: a FIFO in the key's place must not hang the daemon.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyMissing(f"There is no key file {path}.") from None
    except OSError as error:
        raise KeyMissing(f"The key file {path} cannot be read: {error.strerror}.") from None
    try:
        _check(path, os.fstat(fd))
        return os.read(fd, _MAX_BYTES + 1)
    except OSError as error:
        raise KeyMissing(f"The key file {path} cannot be read: {error.strerror}.") from None
    finally:
        os.close(fd)


def _check(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise KeyMissing(f"The key file {path} is not a regular file.")
    if facts.st_mode & 0o077 and not _is_credential(path):
        mode = stat.S_IMODE(facts.st_mode)
        raise KeyMissing(
            f"The key file {path} is open to other users (mode {mode:04o}); run: chmod 600 {path}"
        )


def _is_credential(path: Path) -> bool:
    # systemd grants a credential by ACL, which shows up as group bits; its directory is private.
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and path.parent == Path(directory or "/")


def _parse(path: Path, content: bytes) -> bytes:
    if len(content) == _RAW_BYTES:
        return content
    text = content.strip()
    if match := _HEX.fullmatch(text):
        return bytes.fromhex(match[1].decode())
    if text.startswith(b"{"):
        raise KeyMissing(f"The key file {path} is an encrypted keystore, which this version cannot open.")
    raise KeyMissing(f"The key file {path} holds neither 32 raw bytes nor 64 hexadecimal digits.")
