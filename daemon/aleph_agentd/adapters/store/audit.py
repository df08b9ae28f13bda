"""The audit log's table: append, rotate, read. Contract: `ports.AuditLog`.

The statements are built once: state changes append several times in a transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from ...domain import audit as log
from ...domain.acting import acting
from ...domain.audit import GENESIS, Deed, Entry, Link, follow
from .schema import audit, meta

_BASE_KEY = "audit_base"
_INSERT = insert(audit)
_HEAD = select(audit.c.n, audit.c.hash).order_by(audit.c.n.desc()).limit(1)
_HASH = select(audit.c.hash).where(audit.c.n == bindparam("n"))
_BASE = select(meta.c.value).where(meta.c.key == _BASE_KEY)
_PAGE = select(audit).where(audit.c.n > bindparam("after")).order_by(audit.c.n).limit(bindparam("limit"))
_MARKS = (
    select(audit.c.n, audit.c.hash)
    .where(audit.c.n > bindparam("after"), audit.c.n % bindparam("every") == 0)
    .order_by(audit.c.n)
)


def append(connection: Connection, deeds: Sequence[Deed]) -> None:
    """Add entries to the chain, as part of this transaction."""
    if not deeds:
        return
    at, rows = head(connection), []
    for done in deeds:
        entry = follow(at, done)
        rows.append({"n": entry.n, **vars(done), "hash": entry.hash})
        at = entry.link
    connection.execute(_INSERT, rows)
    if at.n // log.ROTATED_AT_ONCE != (at.n - len(deeds)) // log.ROTATED_AT_ONCE:
        _rotate(connection, at.n)


def record(connection: Connection, kind: str, item_hash: str, text: str, now: datetime) -> None:
    """An entry for what this transaction does, on behalf of whoever it is done for."""
    append(connection, [log.deed(now, kind, text, acting(), item_hash)])


def record_all(
    connection: Connection, kind: str, item_hashes: Sequence[str], text: str, now: datetime
) -> None:
    """The same for many VMs."""
    append(connection, [log.deed(now, kind, text, acting(), item_hash) for item_hash in item_hashes])


def _rotate(connection: Connection, newest: int) -> None:
    """Let go of the oldest, in whole batches, and keep what the rest of the chain follows."""
    last = (newest - log.KEPT) // log.ROTATED_AT_ONCE * log.ROTATED_AT_ONCE
    if last <= base(connection).n:
        return
    kept_from = connection.scalar(_HASH, {"n": last})
    if kept_from is None:
        return  # somebody has removed it: what is left must go on to show that
    connection.execute(delete(audit).where(audit.c.n <= last))
    connection.execute(delete(meta).where(meta.c.key == _BASE_KEY))
    connection.execute(insert(meta).values(key=_BASE_KEY, value=f"{last} {kept_from}"))


def base(connection: Connection) -> Link:
    """What the first entry that is kept follows."""
    n, _, found = (connection.scalar(_BASE) or "").partition(" ")
    return Link(int(n), found) if n.isdecimal() else GENESIS


def head(connection: Connection) -> Link:
    """The newest entry's place."""
    row = connection.execute(_HEAD).first()
    return Link(row.n, row.hash) if row else base(connection)


def page(connection: Connection, after: int, limit: int) -> list[Entry]:
    """Entries behind this number, oldest first."""
    return [_entry(row) for row in connection.execute(_PAGE, {"after": after, "limit": limit})]


def marks(connection: Connection, after: int, every: int) -> list[Link]:
    """Places at multiples of `every`."""
    return [Link(row.n, row.hash) for row in connection.execute(_MARKS, {"after": after, "every": every})]


def _entry(row: Row[Any]) -> Entry:
    found = dict(row._mapping)
    n, own_hash = found.pop("n"), found.pop("hash")
    return Entry(n, Deed(**found), own_hash)
