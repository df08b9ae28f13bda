"""The keys of both ends of a VM's SSH. Contract: `ports.guest_keys.GuestKeys`."""

import json
from dataclasses import asdict

from sqlalchemy import Connection, delete, insert, select, update

from ...domain.errors import NotFound
from ...domain.model import LEASED
from ...ports.guest_keys import GuestKey, SetupResult, SetupScript
from .schema import guest_keys as table
from .schema import vms
from .transactions import Transactions


class GuestKeyStore(Transactions):
    """The part of SqlInventory that gets the daemon into VMs."""

    async def guest_key(self, item_hash: str) -> GuestKey | None:
        """The keys of a VM."""
        return await self._read(lambda c: get(c, item_hash))

    async def pin_host_key(self, item_hash: str, host_key: str) -> str:
        """The first one stays."""
        return await self._transact(lambda c: pin(c, item_hash, host_key))

    async def new_disk(self, item_hash: str) -> None:
        """The next contact is the first one, and its script has not run."""
        await self._transact(lambda c: set_disk(c, item_hash, "", None))

    async def same_disk(self, item_hash: str, host_key: str, result: SetupResult | None) -> None:
        """As before the reinstall that did not take place."""
        await self._transact(lambda c: set_disk(c, item_hash, host_key, result))

    async def setup_of(self, item_hash: str) -> SetupScript | None:
        """What a VM runs at first contact."""
        return await self._read(lambda c: setup_of(c, item_hash))

    async def open_setups(self) -> list[str]:
        """Those without a result."""
        return await self._read(open_setups)

    async def end_setup(self, item_hash: str, result: SetupResult) -> None:
        """The first result stays."""
        await self._transact(lambda c: end_setup(c, item_hash, result))


def add(connection: Connection, item_hash: str, private_key: str, setup: str = "") -> None:
    """The key of a new VM, if it has one, and what it runs at first."""
    if private_key:
        connection.execute(insert(table).values(item_hash=item_hash, private_key=private_key, setup=setup))


def setup_of(connection: Connection, item_hash: str) -> SetupScript | None:
    """What a VM runs at first, if anything."""
    columns = (table.c.setup, table.c.setup_result)
    row = connection.execute(select(*columns).where(table.c.item_hash == item_hash)).one_or_none()
    if row is None or not row.setup:
        return None
    return SetupScript(row.setup, row.setup_result and SetupResult(**json.loads(row.setup_result)))


def open_setups(connection: Connection) -> list[str]:
    """The VMs whose scripts have no result."""
    is_open = (table.c.setup != "") & table.c.setup_result.is_(None)
    leased = vms.c.state.in_([str(state) for state in LEASED])
    both = select(table.c.item_hash).join(vms, vms.c.item_hash == table.c.item_hash)
    return list(connection.scalars(both.where(is_open & leased)))


def end_setup(connection: Connection, item_hash: str, result: SetupResult) -> None:
    """Write a result unless there is one."""
    is_open = (table.c.item_hash == item_hash) & table.c.setup_result.is_(None)
    connection.execute(update(table).where(is_open).values(setup_result=_stored(result)))


def set_disk(connection: Connection, item_hash: str, host_key: str, result: SetupResult | None) -> None:
    """Write what is known of a VM's disk, whatever was."""
    facts = {"host_key": host_key, "setup_result": result and _stored(result)}
    connection.execute(update(table).where(table.c.item_hash == item_hash).values(facts))


def _stored(result: SetupResult) -> str:
    return json.dumps(asdict(result))


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
