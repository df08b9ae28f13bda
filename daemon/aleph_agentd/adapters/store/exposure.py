"""What is bound at one instant. Fast enough to stand in every admission: it reads indexes, not rows.

The statements are built once: building them took longer than running them. Money is added up in integers.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    type_coerce,
)

from ...domain import money
from ...domain.model import LIVE, Exposure, Share, VmState
from .ledger import RESERVED, SPENT
from .schema import ledger, vms
from .types import microseconds
from .unapproved import UNAPPROVED

Query = Any
"""A Select; what its parameters stand for differs between SQLAlchemy 2.0 and 2.1."""


_BILLS = and_(vms.c.state.in_(LIVE), vms.c.forgotten_at.is_(None))
_OPEN = (
    select(ledger.c.item_hash, func.sum(ledger.c.units).label("units"))
    .where(ledger.c.account == RESERVED)
    .group_by(ledger.c.item_hash)
    .having(func.sum(ledger.c.units) != 0)
    .subquery()
)
_BELOW = or_(
    vms.c.project == bindparam("project"),
    func.substr(vms.c.project, 1, bindparam("length", type_=Integer)) == bindparam("prefix"),
)
"""The VMs of a budget's directory, and of those below it."""


def _billing() -> Query:
    """By rate: how many VMs the network may bill, and how many of them are this session's."""
    own = func.sum(case((vms.c.session == bindparam("session"), 1), else_=0))
    return select(vms.c.rate, func.count(), own).where(_BILLS).group_by(vms.c.rate)


def _reservations() -> Query:
    """Each open reservation, with the rate of its VM and since when, and until when, that is billed."""
    forgotten, broadcast = (type_coerce(at, BigInteger) for at in (vms.c.forgotten_at, vms.c.broadcast_at))
    never = and_(vms.c.state == VmState.FAILED, forgotten.is_(None))
    began = case((never, None), else_=broadcast)
    rows = _OPEN.outerjoin(vms, vms.c.item_hash == _OPEN.c.item_hash)
    return select(_OPEN.c.units, type_coerce(vms.c.rate, Text), began, forgotten).select_from(rows)


_BILLING = _billing()
_NAMES = select(vms.c.name).where(vms.c.state.in_(LIVE))
_RESERVATIONS = _reservations()
_SPENT = select(func.sum(ledger.c.units)).where(ledger.c.account == SPENT, ledger.c.at > bindparam("since"))
_OF_SESSION = select(func.sum(ledger.c.units)).where(ledger.c.session == bindparam("session"))
_CREATED = select(func.count()).where(vms.c.created_at > bindparam("since"))
_SHARE_BILLING = select(vms.c.rate, func.count()).where(_BILLS, _BELOW).group_by(vms.c.rate)
_SHARE_DAY = (
    select(func.sum(ledger.c.units))
    .join(vms, vms.c.item_hash == ledger.c.item_hash)
    .where(or_(ledger.c.account == RESERVED, ledger.c.at > bindparam("since")), _BELOW)
)
_SHARE_CREATED = _CREATED.where(_BELOW)


def exposure(
    connection: Connection,
    session: str,
    now: datetime,
    budgets: Sequence[str] = (),
    *,
    uid: int = -1,
    besides: str = "",
) -> Exposure:
    """What is bound now, for a session of this uid that asks for more, and by the VMs of each budget's directory.

    For a VM that has some time already: what the uid got without a human besides that.
    """
    billing = [(rate, n, int(own)) for rate, n, own in connection.execute(_BILLING, {"session": session})]
    reserved, unbilled = _bound(connection, now)

    def number(query: Query, **values: object) -> int:
        return int(connection.scalar(query, values) or 0)

    return Exposure(
        live_vms=sum(n for _, n, _ in billing),
        reserved_units=reserved,
        unbilled_units=unbilled,
        spent_day_units=number(_SPENT, since=now - timedelta(hours=24)),
        session_units=number(_OF_SESSION, session=session),
        burn_units_per_hour=sum(money.hourly_units(rate) * n for rate, n, _ in billing),
        creates_last_hour=number(_CREATED, since=now - timedelta(hours=1)),
        names=frozenset(connection.scalars(_NAMES)),
        session_live_vms=sum(own for _, _, own in billing),
        unapproved_day_units=number(UNAPPROVED, uid=uid, besides=besides, since=now - timedelta(hours=24)),
        shares={path: _share(connection, path, now) for path in budgets},
    )


def _bound(connection: Connection, now: datetime) -> tuple[int, int]:
    """What is reserved, and the part of it that `Vm.cost_units` does not say was billed yet."""
    until, rates = microseconds(now), dict[str, Decimal]()
    reserved = unbilled = 0
    for units, rate, began, forgotten in connection.execute(_RESERVATIONS):
        billed = 0
        if began is not None:
            if rate not in rates:
                rates[rate] = Decimal(rate) / 1_000_000
            billed = money.cost_units(rates[rate], (until if forgotten is None else forgotten) - began)
        reserved += int(units)
        unbilled += max(0, int(units) - billed)
    return reserved, unbilled


def _share(connection: Connection, path: str, now: datetime) -> Share:
    prefix = path.rstrip("/") + "/"
    below = {"project": path, "prefix": prefix, "length": len(prefix)}
    billing = list(connection.execute(_SHARE_BILLING, below))
    day = connection.scalar(_SHARE_DAY, {**below, "since": now - timedelta(hours=24)})
    created = connection.scalar(_SHARE_CREATED, {**below, "since": now - timedelta(hours=1)})
    return Share(
        live_vms=sum(n for _, n in billing),
        day_units=int(day or 0),
        burn_units_per_hour=sum(money.hourly_units(rate) * n for rate, n in billing),
        creates_last_hour=int(created or 0),
    )
