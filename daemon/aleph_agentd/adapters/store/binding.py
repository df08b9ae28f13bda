"""The address of the key that this inventory was made with."""

from sqlalchemy import Connection, insert, select

from .schema import meta
from .schema import vms as table
from .transactions import Transactions

_KEY = "key_address"


class BindingStore(Transactions):
    """The part of SqlInventory that knows its key."""

    async def key_address(self) -> str:
        """The address; empty when no key was used yet. One made by an older version says by its newest row."""
        return await self._read(_known)

    async def bind_key(self, address: str) -> None:
        """From now on, this key and no other; the first one stays."""
        await self._transact(lambda c: _bind(c, address))


def _known(connection: Connection) -> str:
    bound = connection.scalar(select(meta.c.value).where(meta.c.key == _KEY))
    newest = select(table.c.signer).where(table.c.signer != "").order_by(table.c.created_at.desc()).limit(1)
    return str(bound or connection.scalar(newest) or "")


def _bind(connection: Connection, address: str) -> None:
    if connection.scalar(select(meta.c.value).where(meta.c.key == _KEY)) is None:
        connection.execute(insert(meta).values(key=_KEY, value=_known(connection) or address))
