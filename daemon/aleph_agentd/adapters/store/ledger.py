"""Money: movements are rows, balances are their sums."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from ...domain.model import Movement, Vm
from .rows import chunks
from .schema import ledger

RESERVED = "reserved"
SPENT = "spent"
_SETTLED = "settled"


def add(connection: Connection, movement: Movement) -> None:
    """One movement."""
    connection.execute(insert(ledger).values(**vars(movement)))


def reserve(
    connection: Connection,
    vm: Vm,
    session: str,
    units: int,
    cause: str,
    now: datetime,
    *,
    uid: int = -1,
    approval: str = "",
) -> None:
    """Bind money for a VM on behalf of a session; `uid` asked for it, a human approved it or did not."""
    if units < 0:
        raise ValueError(f"a reservation of {units} units")
    add(connection, Movement(now, vm.item_hash, session, RESERVED, units, cause, uid, approval))


def settled(connection: Connection, item_hash: str) -> bool:
    """Whether the reservation of a VM was released already."""
    query = select(ledger.c.n).where(
        ledger.c.item_hash == item_hash, ledger.c.account == SPENT, ledger.c.cause.startswith(_SETTLED)
    )
    return connection.execute(query.limit(1)).first() is not None


def settle(connection: Connection, vm: Vm, cause: str, now: datetime) -> bool:
    """Release what is reserved for a VM and book what it has cost. False if that was done before.

    Each session pays up to what it reserved, in the order in which it did; the VM's own pays the rest.
    """
    cause = f"{_SETTLED}: {cause}"
    cost, booked = vm.cost_units(now), balances(connection, [vm.item_hash])[vm.item_hash][1]
    left = max(0, cost - booked)
    if settled(connection, vm.item_hash):
        return _settle_again(connection, vm, left, cause, now)
    shares: dict[str, int] = {}
    for session, units in _reservations(connection, vm.item_hash):
        add(connection, Movement(now, vm.item_hash, session, RESERVED, -units, cause))
        shares[session] = min(left, units)
        left -= shares[session]
    shares[vm.session] = shares.get(vm.session, 0) + left
    for session, units in shares.items():
        add(connection, Movement(now, vm.item_hash, session, SPENT, units, cause))
    return True


def _settle_again(connection: Connection, vm: Vm, late: int, cause: str, now: datetime) -> bool:
    """A VM that came back to life was billed for longer than was booked (rules.md 15)."""
    if late > 0:
        add(connection, Movement(now, vm.item_hash, vm.session, SPENT, late, cause))
    return late > 0


def _reservations(connection: Connection, item_hash: str) -> list[tuple[str, int]]:
    query = (
        select(ledger.c.session, func.sum(ledger.c.units))
        .where(ledger.c.item_hash == item_hash, ledger.c.account == RESERVED)
        .group_by(ledger.c.session)
        .order_by(func.min(ledger.c.n))
    )
    return [(session, int(units)) for session, units in connection.execute(query) if units]


def balances(connection: Connection, item_hashes: Sequence[str]) -> dict[str, tuple[int, int]]:
    """`(reserved, spent)` of each of these VMs, zeros included."""
    sums: dict[tuple[str, str], int] = {}
    for chunk in chunks(item_hashes):
        query = (
            select(ledger.c.item_hash, ledger.c.account, func.sum(ledger.c.units))
            .where(ledger.c.item_hash.in_(chunk))
            .group_by(ledger.c.item_hash, ledger.c.account)
        )
        sums |= {(item_hash, account): int(units) for item_hash, account, units in connection.execute(query)}
    return {h: (sums.get((h, RESERVED), 0), sums.get((h, SPENT), 0)) for h in item_hashes}


def newest(connection: Connection, limit: int, item_hash: str) -> list[Movement]:
    """The newest movements, of all VMs or of one."""
    columns = (getattr(ledger.c, name) for name in Movement.__dataclass_fields__)
    query = select(*columns).order_by(ledger.c.n.desc()).limit(limit)
    if item_hash:
        query = query.where(ledger.c.item_hash == item_hash)
    return [Movement(*row) for row in connection.execute(query)]
