"""The signing account, as the SDK's `Account` protocol wants it, without the SDK's web3.

Only `signer` and `hosts` may hold one (rules: the key never leaves the daemon, and signs only what we build).
"""

import threading
from typing import Any

_importing = threading.Lock()


def open_account(secret: bytes) -> Any:
    """eth_account's account of a key, with all that it imports late.

    One thread at a time: two that import this tree, or the SDK that stands on it, leave it half imported.
    """
    with _importing:
        from eth_account import Account

        return Account.from_key(secret)


class KeyAccount:
    """Signs with one Ethereum key. Its imports happen at the first use: they take a quarter of a second."""

    CHAIN = "ETH"
    CURVE = "secp256k1"

    __slots__ = ("_local",)

    def __init__(self, secret: bytes) -> None:
        self._local = open_account(secret)

    def __repr__(self) -> str:
        return f"<KeyAccount {self.get_address()}>"

    def __reduce__(self) -> Any:
        raise TypeError("a key is not copied")

    def get_address(self) -> str:
        """The checksummed address."""
        return str(self._local.address)

    def get_public_key(self) -> str:
        """The compressed public key."""
        from eth_keys.datatypes import PrivateKey

        return "0x" + PrivateKey(self._local.key).public_key.to_compressed_bytes().hex()

    async def sign_raw(self, buffer: bytes) -> bytes:
        """An EIP-191 signature of a text."""
        from eth_account.messages import encode_defunct

        return bytes(self._local.sign_message(encode_defunct(text=buffer.decode())).signature)

    async def sign_message(self, message: dict[str, Any]) -> dict[str, Any]:
        """The message with its signature."""
        from aleph.sdk.chains.common import get_verification_buffer

        if message["sender"] != self.get_address():
            raise ValueError("the sender is not this key's address")
        signature = await self.sign_raw(get_verification_buffer(message))
        return message | {"signature": "0x" + signature.hex()}
