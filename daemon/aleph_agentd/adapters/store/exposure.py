"""What is bound at one instant. Fast enough to stand in every admission: it reads indexes, not rows.

The statements are built once: building them took longer than running them.
"""

from datetime import datetime, timedelta
from math import ceil
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    Text,
    and_,
    bindparam,
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
from .unapproved import UNAPPROVED

Query = Any
"""A Select; what its parameters stand for differs between SQLAlchemy 2.0 and 2.1."""


def _billing() -> Query:
    """By rate: how many VMs the network may bill, and how many of them are this session's."""
    own = func.sum(case((vms.c.session == bindparam("session"), 1), else_=0))
    return (
        select(vms.c.rate, func.count(), own)
        .where(vms.c.state.in_(LIVE), vms.c.forgotten_at.is_(None))
        .group_by(vms.c.rate)
    )


def _cost() -> ColumnElement[float]:
    """`Vm.cost_units` in SQL, not rounded: less is billed, so more counts as bound."""
    forgotten, broadcast = (type_coerce(at, BigInteger) for at in (vms.c.forgotten_at, vms.c.broadcast_at))
    seconds = (func.coalesce(forgotten, bindparam("now", type_=BigInteger)) - broadcast) / 1e6
    never = or_(broadcast.is_(None), and_(vms.c.state == VmState.FAILED, forgotten.is_(None)))
    return case((never, 0.0), (seconds < 0, 0.0), else_=cast(type_coerce(vms.c.rate, Text), Float) * seconds)


def _reservations() -> Query:
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
    cost = _cost()
    unbilled = case((open_.c.units > cost, open_.c.units - cost), else_=0.0)
    return select(func.sum(open_.c.units), func.sum(unbilled)).select_from(
        open_.outerjoin(vms, vms.c.item_hash == open_.c.item_hash)
    )


_BILLING = _billing()
_NAMES = select(vms.c.name).where(vms.c.state.in_(LIVE))
_RESERVATIONS = _reservations()
_SPENT = select(func.sum(ledger.c.units)).where(ledger.c.account == SPENT, ledger.c.at > bindparam("since"))
_OF_SESSION = select(func.sum(ledger.c.units)).where(ledger.c.session == bindparam("session"))
_CREATED = select(func.count()).where(vms.c.created_at > bindparam("since"))


def exposure(
    connection: Connection, session: str, now: datetime, *, uid: int = -1, besides: str = ""
) -> Exposure:
    """What is bound now, for a session of this uid that asks for more; for a VM that has some, besides that."""
    billing = [(rate, n, int(own)) for rate, n, own in connection.execute(_BILLING, {"session": session})]
    reserved, unbilled = connection.execute(_RESERVATIONS, {"now": microseconds(now)}).one()

    def number(query: Query, **values: object) -> int:
        return int(connection.scalar(query, values) or 0)

    return Exposure(
        live_vms=sum(n for _, n, _ in billing),
        reserved_units=int(reserved or 0),
        unbilled_units=ceil(unbilled or 0),
        spent_day_units=number(_SPENT, since=now - timedelta(hours=24)),
        session_units=number(_OF_SESSION, session=session),
        burn_units_per_hour=sum(money.hourly_units(rate) * n for rate, n, _ in billing),
        creates_last_hour=number(_CREATED, since=now - timedelta(hours=1)),
        names=frozenset(connection.scalars(_NAMES)),
        session_live_vms=sum(own for _, _, own in billing),
        unapproved_day_units=number(UNAPPROVED, uid=uid, besides=besides, since=now - timedelta(hours=24)),
    )
