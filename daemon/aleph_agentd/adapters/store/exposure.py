"""What is bound at one instant. Fast enough to stand in every admission: it reads indexes, not rows."""

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from sqlalchemy import BigInteger, Connection, Text, func, select, type_coerce

from ...domain import money
from ...domain.model import LIVE, Exposure, VmState
from .ledger import RESERVED, SPENT
from .schema import ledger, vms
from .types import microseconds

_rate = lru_cache(maxsize=1024)(Decimal)


def exposure(connection: Connection, session: str, now: datetime) -> Exposure:
    """What is bound now, for a session that asks for more."""
    names, billing = _living(connection)
    by_rate = Counter(rate for rate, _ in billing)
    reserved, unbilled = _open_reservations(connection, now)
    return Exposure(
        live_vms=len(billing),
        reserved_units=reserved,
        unbilled_units=unbilled,
        spent_day_units=_spent_since(connection, now - timedelta(hours=24)),
        session_units=_of_session(connection, session),
        burn_units_per_hour=sum(money.hourly_units(_rate(rate)) * n for rate, n in by_rate.items()),
        creates_last_hour=_created_since(connection, now - timedelta(hours=1)),
        names=names,
        session_live_vms=sum(owner == session for _, owner in billing),
    )


def _living(connection: Connection) -> tuple[frozenset[str], list[tuple[str, str]]]:
    """The names of live VMs, and `(rate, session)` of those that the network may bill."""
    query = select(
        vms.c.name, type_coerce(vms.c.rate, Text), vms.c.session, vms.c.forgotten_at.is_(None)
    ).where(vms.c.state.in_(LIVE))
    rows = connection.execute(query).all()
    return frozenset(row[0] for row in rows), [(row[1], row[2]) for row in rows if row[3]]


def _open_reservations(connection: Connection, now: datetime) -> tuple[int, int]:
    """What is reserved, and the part of it that the network has not billed yet by our clock."""
    sums = (
        select(ledger.c.item_hash, func.sum(ledger.c.units).label("units"))
        .where(ledger.c.account == RESERVED)
        .group_by(ledger.c.item_hash)
        .having(func.sum(ledger.c.units) != 0)
        .subquery()
    )
    query = select(
        sums.c.units,
        type_coerce(vms.c.rate, Text),
        type_coerce(vms.c.broadcast_at, BigInteger),
        type_coerce(vms.c.forgotten_at, BigInteger),
        type_coerce(vms.c.state, Text),
    ).select_from(sums.outerjoin(vms, vms.c.item_hash == sums.c.item_hash))
    reserved = unbilled = 0
    until = microseconds(now)
    for units, rate, broadcast, forgotten, state in connection.execute(query):
        reserved += units
        unbilled += max(0, units - _cost(rate, broadcast, forgotten, state, until))
    return int(reserved), int(unbilled)


def _cost(rate: str, broadcast: int | None, forgotten: int | None, state: str, until: int) -> int:
    """`Vm.cost_units` on bare columns: ten thousand rows are read for every admission."""
    if broadcast is None or (forgotten is None and state == VmState.FAILED):
        return 0
    return money.cost_units(_rate(rate), ((forgotten or until) - broadcast) / 1e6)


def _spent_since(connection: Connection, since: datetime) -> int:
    query = select(func.sum(ledger.c.units)).where(ledger.c.account == SPENT, ledger.c.at > since)
    return int(connection.scalar(query) or 0)


def _of_session(connection: Connection, session: str) -> int:
    return int(connection.scalar(select(func.sum(ledger.c.units)).where(ledger.c.session == session)) or 0)


def _created_since(connection: Connection, since: datetime) -> int:
    return connection.scalar(select(func.count()).where(vms.c.created_at > since)) or 0
