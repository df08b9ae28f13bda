"""What happened, in order; the newest ten thousand."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select

from ...domain.model import Event
from . import audit
from .schema import events

KEPT = 10_000
_PRUNE_EVERY = 500


def record(connection: Connection, kind: str, item_hash: str, text: str, now: datetime) -> Event:
    """Add an event, and an entry of the audit log for it. Ids only grow, also when old events are dropped."""
    audit.record(connection, kind, item_hash, text, now)
    values = {"at": now, "kind": kind, "item_hash": item_hash, "text": text}
    number = connection.execute(insert(events).values(**values).returning(events.c.id)).scalar_one()
    if number % _PRUNE_EVERY == 0:
        connection.execute(delete(events).where(events.c.id <= number - KEPT))
    return Event(number, now, kind, item_hash, text)


def record_all(
    connection: Connection, kind: str, item_hashes: Sequence[str], text: str, now: datetime
) -> None:
    """Add the same event for many VMs, and their entries of the audit log."""
    audit.record_all(connection, kind, item_hashes, text, now)
    rows = [{"at": now, "kind": kind, "item_hash": item_hash, "text": text} for item_hash in item_hashes]
    if rows:
        connection.execute(insert(events), rows)
        connection.execute(delete(events).where(events.c.id <= last_id(connection) - KEPT))


def since(connection: Connection, after_id: int, limit: int) -> list[Event]:
    """Events after this id, oldest first."""
    query = select(events).where(events.c.id > after_id).order_by(events.c.id).limit(limit)
    return [Event(row.id, row.at, row.kind, row.item_hash, row.text) for row in connection.execute(query)]


def last_id(connection: Connection) -> int:
    """The id of the newest event, or 0."""
    return connection.scalar(select(func.max(events.c.id))) or 0
