"""What is bound at one instant. Fast enough to stand in every admission: it reads indexes, not rows."""

from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    Text,
    and_,
    case,
    cast,
    func,
    or_,
    select,
    type_coerce,
)

from ...domain import money
from ...domain.model import LIVE, Exposure, VmState
from .ledger import RESERVED, SPENT
from .schema import ledger, vms
from .types import microseconds


def exposure(connection: Connection, session: str, now: datetime) -> Exposure:
    """What is bound now, for a session that asks for more."""
    billing = _billing(connection, session)
    reserved, unbilled = _open_reservations(connection, now)
    return Exposure(
        live_vms=sum(n for _, n, _ in billing),
        reserved_units=reserved,
        unbilled_units=unbilled,
        spent_day_units=_spent_since(connection, now - timedelta(hours=24)),
        session_units=_of_session(connection, session),
        burn_units_per_hour=sum(money.hourly_units(rate) * n for rate, n, _ in billing),
        creates_last_hour=_created_since(connection, now - timedelta(hours=1)),
        names=_names(connection),
        session_live_vms=sum(own for _, _, own in billing),
    )


def _billing(connection: Connection, session: str) -> list[tuple[Decimal, int, int]]:
    """By rate: how many VMs the network may bill, and how many of them are this session's."""
    own = func.sum(case((vms.c.session == session, 1), else_=0))
    query = (
        select(vms.c.rate, func.count(), own)
        .where(vms.c.state.in_(LIVE), vms.c.forgotten_at.is_(None))
        .group_by(vms.c.rate)
    )
    return [(rate, n, int(mine)) for rate, n, mine in connection.execute(query)]


def _names(connection: Connection) -> frozenset[str]:
    return frozenset(connection.scalars(select(vms.c.name).where(vms.c.state.in_(LIVE))).all())


def _open_reservations(connection: Connection, now: datetime) -> tuple[int, int]:
    """What is reserved, and the part of it that the network has not billed yet by our clock.

    Summed in floats by the database: exact enough for a guard, and ten thousand rows cost no round trips.
    """
    open_ = (
        select(ledger.c.item_hash, func.sum(ledger.c.units).label("units"))
        .where(ledger.c.account == RESERVED)
        .group_by(ledger.c.item_hash)
        .having(func.sum(ledger.c.units) != 0)
        .subquery()
    )
    cost = _cost(now)
    unbilled = case((open_.c.units > cost, open_.c.units - cost), else_=0.0)
    query = select(func.sum(open_.c.units), func.sum(unbilled))
    row = connection.execute(
        query.select_from(open_.outerjoin(vms, vms.c.item_hash == open_.c.item_hash))
    ).one()
    return int(row[0] or 0), ceil(row[1] or 0)


def _cost(now: datetime) -> ColumnElement[float]:
    """`Vm.cost_units` in SQL, not rounded: less is billed, so more counts as bound."""
    forgotten, broadcast = (type_coerce(at, BigInteger) for at in (vms.c.forgotten_at, vms.c.broadcast_at))
    seconds = (func.coalesce(forgotten, microseconds(now)) - broadcast) / 1e6
    never = or_(broadcast.is_(None), and_(vms.c.state == VmState.FAILED, forgotten.is_(None)))
    return case((never, 0.0), (seconds < 0, 0.0), else_=cast(type_coerce(vms.c.rate, Text), Float) * seconds)


def _spent_since(connection: Connection, since: datetime) -> int:
    query = select(func.sum(ledger.c.units)).where(ledger.c.account == SPENT, ledger.c.at > since)
    return int(connection.scalar(query) or 0)


def _of_session(connection: Connection, session: str) -> int:
    return int(connection.scalar(select(func.sum(ledger.c.units)).where(ledger.c.session == session)) or 0)


def _created_since(connection: Connection, since: datetime) -> int:
    return connection.scalar(select(func.count()).where(vms.c.created_at > since)) or 0
