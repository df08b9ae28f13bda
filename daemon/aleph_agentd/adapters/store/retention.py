"""What may go: tombstones that nobody has to watch any more, and old movements, summed up. Contract: `ports.Retention`."""

from collections.abc import Sequence
from datetime import UTC, datetime, time

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select

from ...domain.model import TOMBSTONES, Movement, Vm, VmState
from . import ledger
from .rows import to_vm
from .schema import ledger as movements
from .schema import vms as table
from .transactions import Transactions

SUMMARY = "summary"
"""Stands in the place of a VM's hash in a movement that sums up those of many."""


class RetentionStore(Transactions):
    """The part of SqlInventory that keeps it from growing without bound."""

    async def outlived(self, before: datetime, limit: int) -> list[Vm]:
        """Tombstones that may go, the oldest first."""
        return await self._read(lambda c: outlived(c, before, limit))

    async def remove(self, item_hashes: Sequence[str], before: datetime) -> int:
        """Delete those of them that still may go."""
        return await self._transact(lambda c: remove(c, item_hashes, before))

    async def sum_up(self, before: datetime, limit: int) -> int:
        """Sum up the movements of VMs that have no row any more."""
        return await self._transact(lambda c: sum_up(c, before, limit))


def outlived(connection: Connection, before: datetime, limit: int) -> list[Vm]:
    """Gone ones were looked up once more after their end; nothing is reserved for any of them."""
    query = select(table).where(_may_go(before)).order_by(table.c.ended_at, table.c.item_hash).limit(limit)
    return [to_vm(row) for row in connection.execute(query)]


def _may_go(before: datetime) -> ColumnElement[bool]:
    reserved = (
        select(func.coalesce(func.sum(movements.c.units), 0))
        .where(movements.c.item_hash == table.c.item_hash, movements.c.account == ledger.RESERVED)
        .scalar_subquery()
    )
    return and_(
        table.c.state.in_(TOMBSTONES),
        table.c.ended_at < before,
        or_(table.c.state == VmState.FAILED, table.c.verified_at.is_not(None)),
        reserved == 0,
    )


def remove(connection: Connection, item_hashes: Sequence[str], before: datetime) -> int:
    """Signed messages, kill switches and extensions go with their row; movements of money stay."""
    found = connection.scalars(
        select(table.c.item_hash).where(table.c.item_hash.in_(item_hashes), _may_go(before))
    ).all()
    connection.execute(delete(table).where(table.c.item_hash.in_(found)))
    return len(found)


def sum_up(connection: Connection, before: datetime, limit: int) -> int:
    """One movement per account and day instead of those of up to `limit` VMs; how many went.

    All of a VM's movements or none: what was reserved and released for it adds up to nothing.
    """
    query = (
        select(movements.c.item_hash)
        .where(movements.c.item_hash != SUMMARY, ~exists().where(table.c.item_hash == movements.c.item_hash))
        .group_by(movements.c.item_hash)
        .having(func.max(movements.c.at) < before)
        .limit(limit)
    )
    old = connection.scalars(query).all()
    theirs = movements.c.item_hash.in_(old)
    rows = connection.execute(
        select(movements.c.at, movements.c.account, movements.c.units).where(theirs)
    ).all()
    sums: dict[tuple[datetime, str], int] = {}
    for at, account, units in rows:
        day = datetime.combine(at.date(), time(), UTC)
        sums[day, account] = sums.get((day, account), 0) + units
    connection.execute(delete(movements).where(theirs))
    for (day, account), units in sums.items():
        _add(connection, day, account, units)
    return len(rows)


def _add(connection: Connection, day: datetime, account: str, units: int) -> None:
    summary = (movements.c.item_hash == SUMMARY) & (movements.c.account == account) & (movements.c.at == day)
    before = int(connection.scalar(select(func.sum(movements.c.units)).where(summary)) or 0)
    connection.execute(delete(movements).where(summary))
    if units + before:
        cause = f"the movements of {day:%Y-%m-%d}"
        ledger.add(connection, Movement(day, SUMMARY, "", account, units + before, cause))
