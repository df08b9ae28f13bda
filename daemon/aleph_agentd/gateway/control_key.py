"""The owner's `unlock` on control.sock: the passphrase of an encrypted key, used once and not kept."""

from collections.abc import Mapping
from typing import Any, Protocol

from ..domain.errors import BadInput, Unavailable
from ..ports import KeyMissing
from .rpc.connection import Connection, Handler

_LONGEST = 4096


class Key(Protocol):
    """The daemon's hold of its key."""

    async def unlock(self, passphrase: str) -> str:
        """Open it; its address. Raises KeyMissing."""

    async def address_if_open(self) -> str:
        """Its address; empty while it cannot be used."""


class KeyVerbs:
    """The handlers. The passphrase itself is the proof that its owner speaks."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the other methods of control.sock."""
        return {"key.unlock": self.unlock, "key.state": self.state}

    async def state(self, _: Connection, __: Mapping[str, Any]) -> dict[str, Any]:
        """Whether there is anything to unlock, before somebody types a passphrase that nobody would look at."""
        return {"open": await self._key.address_if_open()}

    async def unlock(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Open the key."""
        passphrase = params.get("passphrase")
        if not isinstance(passphrase, str) or not 0 < len(passphrase) <= _LONGEST:
            raise BadInput("There is no passphrase.", "Type it: aleph-agentctl unlock")
        try:
            return {"address": await self._key.unlock(passphrase)}
        except KeyMissing as missing:
            raise Unavailable(
                f"The key stays locked: {missing}", "aleph-agentctl unlock", code="key_locked"
            ) from None
