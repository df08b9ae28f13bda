"""The keys of both ends of a VM's SSH. Contract: `ports.guest_keys.GuestKeys`."""

from sqlalchemy import Connection, delete, insert, select, update

from ...domain.errors import NotFound
from ...ports.guest_keys import GuestKey
from .schema import guest_keys as table
from .transactions import Transactions


class GuestKeyStore(Transactions):
    """The part of SqlInventory that gets the daemon into VMs."""

    async def guest_key(self, item_hash: str) -> GuestKey | None:
        """The keys of a VM."""
        return await self._read(lambda c: get(c, item_hash))

    async def pin_host_key(self, item_hash: str, host_key: str) -> str:
        """The first one stays."""
        return await self._transact(lambda c: pin(c, item_hash, host_key))

    async def unpin_host_key(self, item_hash: str) -> None:
        """The next contact is the first one."""
        forget = update(table).where(table.c.item_hash == item_hash).values(host_key="")
        await self._transact(lambda c: c.execute(forget) and None)


def add(connection: Connection, item_hash: str, private_key: str) -> None:
    """The key of a new VM, if it has one."""
    if private_key:
        connection.execute(insert(table).values(item_hash=item_hash, private_key=private_key))


def drop(connection: Connection, item_hash: str) -> None:
    """There is nothing left to get into."""
    connection.execute(delete(table).where(table.c.item_hash == item_hash))


def get(connection: Connection, item_hash: str) -> GuestKey | None:
    """The keys of a VM, if it has any."""
    columns = (table.c.private_key, table.c.host_key)
    row = connection.execute(select(*columns).where(table.c.item_hash == item_hash)).one_or_none()
    return GuestKey(row.private_key, row.host_key) if row else None


def pin(connection: Connection, item_hash: str, host_key: str) -> str:
    """Store a host key unless there is one; the one that is stored."""
    unpinned = (table.c.item_hash == item_hash) & (table.c.host_key == "")
    connection.execute(update(table).where(unpinned).values(host_key=host_key))
    key = get(connection, item_hash)
    if key is None:
        raise NotFound(f"There is no SSH key for {item_hash[:64]} in the inventory.", "Use its ssh_command.")
    return key.host_key
