"""Before anything is approved or loosened: is it the owner? The passphrase, from outside of any agent (rules.md 13)."""

from collections.abc import Mapping
from typing import Any, Protocol

from ..services.passphrase import Passphrase
from .ancestry import Clients
from .rpc.connection import Connection

PASSPHRASE = "passphrase"  # noqa: S105 - the name of the parameter
"""The parameter of every guarded verb. Never logged, never kept."""


class Guard(Protocol):
    """What a verb that approves or loosens something asks first."""

    async def check(self, connection: Connection, params: Mapping[str, Any]) -> None:
        """Raises Denied unless the owner asks."""


class OwnerGuard:
    """The peer is no agent's kin, and knows the passphrase."""

    def __init__(self, passphrase: Passphrase, clients: Clients) -> None:
        self.passphrase, self.clients = passphrase, clients

    def refuse_kin(self, connection: Connection) -> None:
        """Raises Denied, code `ancestry`."""
        self.clients.refuse_kin(connection.peer)

    async def check(self, connection: Connection, params: Mapping[str, Any]) -> None:
        """Raises Denied: `ancestry`, `passphrase_unset`, `passphrase_wait`, `passphrase`."""
        # First, so that an agent's guesses cannot lock the owner out.
        self.refuse_kin(connection)
        await self.passphrase.check(params.get(PASSPHRASE))
