"""Whether this inventory was lost or put back, and what the network knows of it since. Contract: `ports.Restoring`."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from ...domain import money
from ...domain.clock import iso
from ...domain.model import LEASED, Expense, Movement, PublishedEnd, Restored, Vm, VmState
from . import events, ledger, vms
from .schema import ledger as movements
from .schema import meta
from .schema import vms as table
from .transactions import Transactions

STARTS = "starts"
_MARK = "restored"
_COUNTED = "booked by the network: "


class RestoringStore(Transactions):
    """The part of SqlInventory that notices its own loss."""

    async def starts(self) -> int | None:
        """How often it was started, by itself."""
        return await self._read(_starts)

    async def count_start(self, counted: int | None, now: datetime) -> int:
        """One start more, and a mark if the counts tell of a loss."""
        return await self._transact(lambda c: count_start(c, counted, now))

    async def restored(self) -> Restored | None:
        """The mark."""
        return await self._read(_marked)

    async def mark_restored(self, why: str, now: datetime) -> Restored:
        """Set the mark, once."""
        return await self._transact(lambda c: mark(c, why, now))

    async def follow(self, item_hash: str, end: PublishedEnd, now: datetime) -> Vm:
        """Move a lease forward to its published end."""
        return await self._transact(lambda c: follow(c, item_hash, end, now))

    async def count_in(self, expenses: Sequence[Expense], now: datetime) -> int:
        """Book what the ledger does not know, and take the mark away."""
        return await self._transact(lambda c: count_in(c, expenses, now))


def count_start(connection: Connection, counted: int | None, now: datetime) -> int:
    """Both counts grow together; the one beside the inventory is written last, so it is never ahead by itself."""
    known = _starts(connection)
    if counted is None and known is not None:
        mark(connection, "the counter of its starts is gone, or belongs to another inventory", now)
    elif counted and known is None:
        mark(connection, f"it is new, but there were {counted} starts before", now)
    elif counted is not None and known is not None and known < counted:
        mark(connection, f"it is a copy from before the last of {counted} starts", now)
    starts = max(known or 0, counted or 0) + 1
    _put(connection, STARTS, str(starts))
    return starts


def mark(connection: Connection, why: str, now: datetime) -> Restored:
    """What was an intent may have been broadcast since: its bytes count as possibly sent."""
    found = _marked(connection)
    if found is not None:
        return found
    _put(connection, _MARK, json.dumps({"since": now.isoformat(), "why": why}))
    unsent = (table.c.state == VmState.INTENDED) & table.c.broadcast_at.is_(None)
    connection.execute(update(table).where(unsent).values(broadcast_at=table.c.created_at))
    events.record(connection, "restoring", "", f"the inventory was lost or put back: {why}", now)
    return Restored(now, why)


def follow(connection: Connection, item_hash: str, end: PublishedEnd, now: datetime) -> Vm:
    """The n-th extension made the lease's version n + 1."""
    vm = vms.held(connection, item_hash)
    if vm.state not in LEASED or end.n < vm.lease_version:
        return vm
    later = max(end.expires_at, vm.expires_at)
    units = money.cost_units(vm.rate, money.exact_s(later - vm.expires_at))
    vm = vms.change(connection, vm, expires_at=later, lease_version=end.n + 1)
    ledger.reserve(connection, vm, vm.session, units, "extended, as published", now)
    events.record(connection, "extended", item_hash, f"until {iso(later)}, as published", now)
    return vm


def count_in(connection: Connection, expenses: Sequence[Expense], now: datetime) -> int:
    """A VM of which the ledger holds anything else is accounted for by its own reservation."""
    units = 0
    for expense in expenses:
        causes = set(
            connection.scalars(select(movements.c.cause).where(movements.c.item_hash == expense.item_hash))
        )
        cause = f"{_COUNTED}{expense.entry}"
        if cause in causes or any(not known.startswith(_COUNTED) for known in causes):
            continue
        ledger.add(
            connection, Movement(expense.at, expense.item_hash, "", ledger.SPENT, expense.units, cause)
        )
        units += expense.units
    connection.execute(delete(meta).where(meta.c.key == _MARK))
    text = f"everything is known again; {money.show(units)} of the last 24 h had no row"
    events.record(connection, "restored", "", text, now)
    return units


def _starts(connection: Connection) -> int | None:
    found = connection.scalar(select(meta.c.value).where(meta.c.key == STARTS))
    return None if found is None else int(found)


def _marked(connection: Connection) -> Restored | None:
    found = connection.scalar(select(meta.c.value).where(meta.c.key == _MARK))
    if found is None:
        return None
    said: dict[str, Any] = json.loads(found)
    return Restored(datetime.fromisoformat(said["since"]), said["why"])


def _put(connection: Connection, key: str, value: str) -> None:
    connection.execute(delete(meta).where(meta.c.key == key))
    connection.execute(insert(meta).values(key=key, value=value))
