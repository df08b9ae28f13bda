"""What `aleph-agentctl key` does with key files, without a daemon."""

import os
import secrets
import shlex
from pathlib import Path

from . import private_files
from .adapters.aleph.account import KeyAccount
from .adapters.aleph.key_file import read_private
from .adapters.aleph.keys import load_secret
from .adapters.aleph.keystore import is_keystore, open_keystore, seal
from .adapters.config import Settings
from .domain.errors import Refusal
from .ports import KeyMissing

SHORTEST = 8


def default_path() -> Path:
    """Where the daemon looks. Raises Refusal."""
    try:
        return Settings.load().private_key_path
    except ValueError as problem:
        raise Refusal(f"{problem}", "name the key file", code="configuration") from None


def make(path: Path) -> str:
    """A new key in a new file; its address. Raises Refusal."""
    secret = secrets.token_bytes(32)
    address = KeyAccount(secret).get_address()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"{path.parent} cannot be made: {error.strerror}", "name another file") from None
    _write_new(path, secret)
    return address


def needs_passphrase(path: Path) -> bool:
    """Whether the file is a keystore. Raises Refusal."""
    return is_keystore(_content(path))


def address(path: Path, passphrase: str) -> str:
    """Whose key this is. Raises Refusal."""
    try:
        content = read_private(path)
        secret = open_keystore(content, passphrase) if is_keystore(content) else load_secret(path)
        return KeyAccount(secret).get_address()
    except KeyMissing as missing:
        raise _refused(missing) from None


def check_plain(path: Path) -> None:
    """Raises Refusal for what cannot be encrypted."""
    if needs_passphrase(path):
        raise Refusal(f"{path} is encrypted already", "aleph-agentctl key show", code="encrypted")
    address(path, "")
    target = _sealed_path(path)
    if target.exists():
        # It may hold another key, and so may an older copy: each is kept.
        away = shlex.join(["mv", "--backup=numbered", str(target), f"{target}.old"])
        raise Refusal(f"{target} is there already", f"move it away: {away}", code="exists")


def encrypt(path: Path, passphrase: str) -> tuple[Path, str]:
    """Write the keystore beside the key; it was opened again before this returns. Raises Refusal."""
    if len(passphrase) < SHORTEST:
        raise Refusal(f"a passphrase has at least {SHORTEST} characters", "aleph-agentctl key encrypt")
    try:
        secret = load_secret(path)
        target = _sealed_path(path)
        _write_new(target, seal(secret, passphrase))
        if open_keystore(read_private(target), passphrase) != secret:
            raise KeyMissing(f"{target} does not give the key back")
    except KeyMissing as missing:
        raise _refused(missing) from None
    return target, KeyAccount(secret).get_address()


def _sealed_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _content(path: Path) -> bytes:
    try:
        return read_private(path)
    except KeyMissing as missing:
        raise _refused(missing) from None


def _write_new(path: Path, content: bytes) -> None:
    """Complete or not at all, and never over another file: written beside it, then linked."""
    new = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.new")
    try:
        private_files.write(new, [content])
        os.link(new, path, follow_symlinks=False)
        private_files.sync(path.parent)
    except FileExistsError:
        raise Refusal(
            f"{path} is there already, and a key is never overwritten", "name another file", code="exists"
        ) from None
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror}", "name another file") from None
    finally:
        new.unlink(missing_ok=True)


def _refused(missing: KeyMissing) -> Refusal:
    return Refusal(str(missing).rstrip("."), "aleph-agentctl key --help", code="no_key")
