"""The ledger against what the network really charges. Contract: `ports.Reckoning`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, and_, case, func, or_, select

from ...domain import money
from ...domain.case import BILLING_TAIL_S
from ...domain.drift import REPRICED
from ...domain.model import LIVE, Movement, Vm, VmState
from ...ports import Spending
from . import events, ledger, vms
from .ledger import RESERVED, SPENT
from .rows import to_vm
from .schema import ledger as movements
from .schema import vms as table
from .transactions import Transactions

_ROUNDED = Decimal("1.001")
"""What is dearer by less is the same price, told with other digits."""


class ReckoningStore(Transactions):
    """The part of SqlInventory that is held against the network's own books."""

    async def billed_since(self, since: datetime, limit: int) -> list[Vm]:
        """VMs that may have been billed."""
        return await self._read(lambda c: billed_since(c, since, limit))

    async def book_late(self, charged: Mapping[str, int], now: datetime) -> dict[str, int]:
        """Book what was charged beyond what is booked."""
        return await self._transact(lambda c: book_late(c, charged, now))

    async def reprice(
        self, item_hashes: Sequence[str], rates: Mapping[str, Decimal], now: datetime
    ) -> dict[str, int]:
        """Reserve up to the worst case as it is now."""
        return await self._transact(lambda c: reprice(c, item_hashes, rates, now))

    async def spending(
        self, since: datetime, session: str, limit: int, after: str = ""
    ) -> tuple[list[Spending], int]:
        """A page of VMs with their money."""
        return await self._read(lambda c: spending(c, since, session, limit, after))


def billed_since(connection: Connection, since: datetime, limit: int) -> list[Vm]:
    """A failed one that was never seen forgotten was never billed."""
    never = and_(table.c.state == VmState.FAILED, table.c.forgotten_at.is_(None))
    query = select(table).where(
        table.c.broadcast_at.is_not(None),
        or_(table.c.forgotten_at.is_(None), table.c.forgotten_at > since),
        ~never,
    )
    ordered = query.order_by(table.c.created_at.desc(), table.c.item_hash).limit(limit)
    return [to_vm(row) for row in connection.execute(ordered)]


def book_late(connection: Connection, charged: Mapping[str, int], now: datetime) -> dict[str, int]:
    """The difference to what is booked by now, so that the next time there is none."""
    late: dict[str, int] = {}
    booked = ledger.balances(connection, list(charged))
    known = vms.known(connection, list(charged))
    for item_hash, vm in known.items():
        units = charged[item_hash] - booked[item_hash][1]
        if units <= 0 or not ledger.settled(connection, item_hash):
            continue
        ledger.add(connection, Movement(now, item_hash, vm.session, SPENT, units, "charged late"))
        events.record(
            connection, "late_expense", item_hash, f"{money.show(units)} more than was settled", now
        )
        late[item_hash] = units
    return late


def reprice(
    connection: Connection, item_hashes: Sequence[str], rates: Mapping[str, Decimal], now: datetime
) -> dict[str, int]:
    """Until max(lease end, now) and the tail of a teardown (rules.md 15)."""
    added: dict[str, int] = {}
    reserved = ledger.balances(connection, list(item_hashes))
    for item_hash, vm in vms.known(connection, list(item_hashes)).items():
        if not vm.billing or ledger.settled(connection, item_hash):
            continue
        units = _worst(connection, vm, rates.get(item_hash, vm.rate), now) - reserved[item_hash][0]
        if units > 0:
            ledger.reserve(connection, vm, vm.session, units, REPRICED, now)
            added[item_hash] = units
    return added


def _worst(connection: Connection, vm: Vm, rate: Decimal, now: datetime) -> int:
    """What it may cost in all; a rate that rose counts for its whole life: since when it does is not told."""
    if rate > vm.rate * _ROUNDED:
        vm = vms.change(connection, vm, rate=rate)
        events.record(connection, REPRICED, vm.item_hash, f"{money.show(vm.hourly_units)} per hour", now)
    left = max(vm.expires_at, now) + timedelta(seconds=BILLING_TAIL_S) - now
    return vm.cost_units(now) + money.cost_units(vm.rate, money.exact_s(left))


def spending(
    connection: Connection, since: datetime, session: str, limit: int, after: str
) -> tuple[list[Spending], int]:
    """Grouped by VM: what is reserved now, and what was settled since then."""
    reserved = func.sum(case((movements.c.account == RESERVED, movements.c.units), else_=0))
    lately = and_(movements.c.account == SPENT, movements.c.at > since)
    spent = func.sum(case((lately, movements.c.units), else_=0))
    began = func.min(movements.c.at)
    grouped = (
        select(
            movements.c.item_hash,
            func.min(movements.c.n).label("n"),
            reserved.label("reserved"),
            spent.label("spent"),
            began.label("began_at"),
            func.min(movements.c.session).label("session"),
        )
        .group_by(movements.c.item_hash)
        .having(or_(func.max(movements.c.at) > since, reserved != 0))
    )
    if session:
        grouped = grouped.where(movements.c.session == session)
    part = grouped.subquery()
    total = connection.scalar(select(func.count()).select_from(part)) or 0
    query = select(part, table.c.name, table.c.project, table.c.state).select_from(
        part.outerjoin(table, table.c.item_hash == part.c.item_hash)
    )
    if after:
        query = query.where(part.c.n < select(part.c.n).where(part.c.item_hash == after).scalar_subquery())
    rows = connection.execute(query.order_by(part.c.n.desc()).limit(limit))
    return [
        Spending(
            item_hash=row.item_hash,
            name=row.name or "",
            project=row.project or "",
            session=row.session,
            live=row.state in LIVE,
            began_at=row.began_at,
            reserved=int(row.reserved),
            spent=int(row.spent),
        )
        for row in rows
    ], int(total)
