"""The owner's `unlock` on control.sock: the passphrase of an encrypted key, used once and not kept."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..domain.errors import BadInput, Unavailable
from ..ports import KeyMissing
from .rpc.connection import Connection, Handler

_LONGEST = 4096


class KeyVerbs:
    """The handlers. The passphrase itself is the proof that its owner speaks."""

    def __init__(self, unlock: Callable[[str], Awaitable[str]]) -> None:
        """`unlock` opens the key and returns its address. Raises KeyMissing."""
        self._unlock = unlock

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the other methods of control.sock."""
        return {"key.unlock": self.unlock}

    async def unlock(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Open the key."""
        passphrase = params.get("passphrase")
        if not isinstance(passphrase, str) or not 0 < len(passphrase) <= _LONGEST:
            raise BadInput("There is no passphrase.", "Type it: aleph-agentctl unlock")
        try:
            return {"address": await self._unlock(passphrase)}
        except KeyMissing as missing:
            raise Unavailable(
                f"The key stays locked: {missing}", "aleph-agentctl unlock", code="key_locked"
            ) from None
