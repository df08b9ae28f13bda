"""The key that signs: read when it is first needed, never made, never written; locked while it is encrypted."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

from ...ports import KeyMissing, OtherKey
from . import passphrases
from .account import KeyAccount
from .key_file import read_private
from .keystore import is_keystore, open_keystore

_RAW_BYTES = 32
_HEX = re.compile(rb"(?:0[xX])?([0-9a-fA-F]{64})")
_HALF_IN_HEX = re.compile(rb"[0-9a-fA-F]{32}")
"""32 bytes as well: one that was cut must not become another key."""
_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
UNLOCK = "aleph-agentctl unlock"


class KeyFile:
    """The key of one file. A file that is put right later is found; a key once loaded is kept."""

    def __init__(self, path: Path, bound: str = "") -> None:
        """`bound`: the address that the inventory was made with; no other key signs."""
        self._path, self._bound = path, bound
        self._account: KeyAccount | None = None
        self._refused = ""
        self._tried_credential = False
        self.is_warm = False
        """Whether what a key needs is imported: then `trouble` opens a file that was put right."""
        self._is_claimed = False
        self._opening, self._claiming = threading.Lock(), threading.Lock()
        self.claim: Callable[[str], None] = lambda _address: None
        """Called with the address before the first signature, in any thread. Raises KeyMissing: it must not sign."""

    def account(self) -> KeyAccount:
        """The account of the key. Raises KeyMissing; a locked keystore stays locked.

        The first call takes a quarter of a second.
        """
        if self._account is None:
            self._take(load_secret(self._path))
        return self._checked()

    def open(self) -> KeyAccount:
        """The same; opens a keystore with systemd's credential, once. Takes seconds: use a thread."""
        with self._opening:
            if self._account is None and self.locked and not self._tried_credential:
                self._tried_credential = True
                passphrase = passphrases.credential()
                if passphrase is not None:
                    self._unlock(passphrase)
        return self._claim_once(self.account())

    def unlock(self, passphrase: str) -> None:
        """Open the keystore; the passphrase is not kept. Raises KeyMissing. Takes seconds: use a thread."""
        with self._opening:
            if self._account is None:
                self._unlock(passphrase)
        self._claim_once(self._checked())

    def _unlock(self, passphrase: str) -> None:
        content = read_private(self._path)
        if is_keystore(content):
            self._take(_sound(self._path, open_keystore(content, passphrase)))

    @property
    def locked(self) -> bool:
        """Whether the file is a keystore that was not opened yet."""
        try:
            return self._account is None and is_keystore(read_private(self._path))
        except KeyMissing:
            return False

    @property
    def trouble(self) -> str:
        """Why there is no usable key, in one line; empty when there is one."""
        try:
            if self.is_warm:
                self._claim_once(self.account())
            elif self._account is None:
                load_secret(self._path)
        except KeyMissing as missing:
            return str(missing)
        return self._refused

    def _claim_once(self, account: KeyAccount) -> KeyAccount:
        with self._claiming:
            if not self._is_claimed:
                self.claim(account.get_address())
                self._is_claimed = True
        return account

    def _take(self, secret: bytes) -> None:
        account = KeyAccount(secret)
        address = account.get_address()
        if self._bound and address.lower() != self._bound.lower():
            self._refused = (
                f"The key file {self._path} holds the key of {address}, but this inventory was made with"
                f" {self._bound}: nothing is signed; put the old key back, or give the new one an inventory"
                " of its own (ALEPH_AGENT_INVENTORY_PATH)"
            )
        self._account = account

    def _checked(self) -> KeyAccount:
        if self._refused:
            raise OtherKey(self._refused)
        if self._account is None:
            raise KeyMissing(f"The key file {self._path} is not a keystore any more.")
        return self._account


def load_secret(path: Path) -> bytes:
    """The 32 bytes of a private key: raw, as the official CLI writes them, or hex with or without `0x`."""
    return _sound(path, _parse(path, read_private(path)))


def _sound(path: Path, secret: bytes) -> bytes:
    if len(secret) != _RAW_BYTES or not 0 < int.from_bytes(secret) < _SECP256K1_ORDER:
        raise KeyMissing(f"The key file {path} does not hold a valid private key.")
    return secret


def _parse(path: Path, content: bytes) -> bytes:
    if len(content) == _RAW_BYTES and not _HALF_IN_HEX.fullmatch(content):
        return content
    text = content.strip()
    if match := _HEX.fullmatch(text):
        return bytes.fromhex(match[1].decode())
    if is_keystore(content):
        raise KeyMissing(f"The key file {path} is an encrypted keystore, and locked; run: {UNLOCK}")
    raise KeyMissing(f"The key file {path} holds neither 32 raw bytes nor 64 hexadecimal digits.")
