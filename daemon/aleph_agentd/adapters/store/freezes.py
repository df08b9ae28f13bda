"""What is frozen, and what was. Contract: `ports.FreezeLog`."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update

from ...domain.freezes import Freeze, FreezeKind
from . import events
from .schema import freezes as table
from .transactions import Transactions

_LONGEST = 300


class FreezeStore(Transactions):
    """The part of SqlInventory that remembers what is frozen."""

    async def freezes(self) -> tuple[Freeze, ...]:
        """Those that nobody has lifted."""
        return await self._read(standing)

    async def freeze(self, kind: FreezeKind, scope: str, by: str, reason: str, now: datetime) -> Freeze:
        """A new one, or the one that says the same."""
        return await self._transact(lambda c: freeze(c, kind, scope, by, reason[:_LONGEST], now))

    async def lift(self, numbers: Sequence[int], by: str, now: datetime) -> int:
        """Lift these."""
        return await self._transact(lambda c: lift(c, numbers, by, now))


def standing(connection: Connection) -> tuple[Freeze, ...]:
    """Those that nobody has lifted, oldest first."""
    query = select(table).where(table.c.lifted_at.is_(None)).order_by(table.c.n)
    return tuple(_freeze(row) for row in connection.execute(query))


def freeze(
    connection: Connection, kind: FreezeKind, scope: str, by: str, reason: str, now: datetime
) -> Freeze:
    """Write it down, unless the same is frozen for the same reason."""
    for known in standing(connection):
        if (known.kind, known.scope, known.reason) == (kind, scope, reason):
            return known
    values = {"at": now, "kind": kind.value, "project": scope, "by": by, "reason": reason, "lifted_by": ""}
    n = connection.execute(insert(table).values(**values).returning(table.c.n)).scalar_one()
    made = Freeze(n=n, at=now, kind=kind, scope=scope, by=by, reason=reason)
    events.record(connection, kind.value, "", made.words, now)
    return made


def lift(connection: Connection, numbers: Sequence[int], by: str, now: datetime) -> int:
    """Lift those of them that stand."""
    these = table.c.n.in_(numbers) & table.c.lifted_at.is_(None)
    count = connection.execute(update(table).where(these).values(lifted_at=now, lifted_by=by)).rowcount
    if count:
        events.record(connection, "unfreeze", "", f"{count} freezes were lifted by {by}", now)
    return count


def _freeze(row: Row[tuple[object, ...]]) -> Freeze:
    return Freeze(
        n=row.n, at=row.at, kind=FreezeKind(row.kind), scope=row.project, by=row.by, reason=row.reason
    )
