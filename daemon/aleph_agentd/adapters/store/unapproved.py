"""What a uid got in a day without a human, so that many small requests do not pass for none (rules.md 16)."""

from typing import Any

from sqlalchemy import Text, bindparam, case, func, select

from .ledger import RESERVED, SPENT
from .schema import ledger
from .types import Serial, UtcInstant


def _unapproved() -> Any:
    """Per VM: what was granted, or, once that was settled, what was used of it."""
    granted = (
        select(ledger.c.item_hash, func.sum(ledger.c.units).label("units"))
        .where(
            ledger.c.account == RESERVED,
            ledger.c.at > bindparam("since", type_=UtcInstant),
            ledger.c.units > 0,
            ledger.c.uid == bindparam("uid", type_=Serial),
            ledger.c.approval == "",
            ledger.c.item_hash != bindparam("besides", type_=Text),
        )
        .group_by(ledger.c.item_hash)
        .subquery()
    )
    open_ = func.sum(case((ledger.c.account == RESERVED, ledger.c.units), else_=0))
    spent = func.sum(case((ledger.c.account == SPENT, ledger.c.units), else_=0))
    used = case((open_ > 0, granted.c.units), (spent < granted.c.units, spent), else_=granted.c.units)
    per_vm = (
        select(used.label("units"))
        .select_from(granted.join(ledger, ledger.c.item_hash == granted.c.item_hash))
        .group_by(granted.c.item_hash, granted.c.units)
        .subquery()
    )
    return select(func.sum(per_vm.c.units))


UNAPPROVED = _unapproved()
"""Parameters: uid, besides (a VM whose whole life is counted elsewhere), since."""
