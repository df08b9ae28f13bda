"""Encrypted keystores, version 3: opened with scrypt or pbkdf2, made with pbkdf2. Slow by design: use a thread."""

import json
from typing import Any

from ...ports import KeyMissing

_MOST_SCRYPT_BYTES = 512 * 1024 * 1024
_MOST_ROUNDS = 10_000_000
_MOST_SALT = 1024


def is_keystore(content: bytes) -> bool:
    """Whether this looks like one."""
    return content.lstrip().startswith(b"{")


def open_keystore(content: bytes, passphrase: str) -> bytes:
    """The secret. Raises KeyMissing, which never says more than that it did not open."""
    try:
        sealed = json.loads(content)
        _check_cost(sealed)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise KeyMissing("The keystore is damaged, or not of version 3.") from None
    from eth_account import Account

    try:
        return bytes(Account.decrypt(sealed, passphrase))
    except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError):
        # Neither the text nor the cause of the library's error: it may quote what it was given.
        raise KeyMissing("The passphrase does not open the keystore.") from None


def seal(secret: bytes, passphrase: str) -> bytes:
    """A keystore of this secret."""
    from eth_account import Account

    return json.dumps(Account.encrypt(secret, passphrase, kdf="pbkdf2")).encode() + b"\n"


def _check_cost(sealed: dict[str, Any]) -> None:
    """A hostile file must not take all memory, or hours."""
    crypto = sealed.get("crypto") or sealed["Crypto"]
    kind, costs = crypto["kdf"], crypto["kdfparams"]
    if sealed["version"] != 3 or kind not in ("scrypt", "pbkdf2") or len(costs["salt"]) > _MOST_SALT:
        raise ValueError
    if costs["dklen"] != 32:
        raise ValueError
    if kind == "scrypt" and not 0 < costs["n"] * costs["r"] * 128 * costs["p"] <= _MOST_SCRYPT_BYTES:
        raise ValueError
    if kind == "pbkdf2" and not 0 < costs["c"] <= _MOST_ROUNDS:
        raise ValueError
