"""The signed bytes of a VM: its INSTANCE and its kill switches."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update

from ...domain.model import SignedMessage
from . import vms
from .schema import forgets, signed_messages


def add_create(connection: Connection, message: SignedMessage) -> None:
    """The INSTANCE of a VM."""
    connection.execute(insert(signed_messages).values(item_hash=message.item_hash, body=message.body))


def create_message(connection: Connection, item_hash: str) -> SignedMessage | None:
    """The INSTANCE of a VM; None for one that we did not sign ourselves."""
    body = connection.scalar(select(signed_messages.c.body).where(signed_messages.c.item_hash == item_hash))
    return None if body is None else SignedMessage(item_hash, body)


def add_forgets(connection: Connection, item_hash: str, messages: Sequence[SignedMessage]) -> None:
    """More kill switches, behind those that are there."""
    vms.held(connection, item_hash)
    top = connection.scalar(select(func.max(forgets.c.n)).where(forgets.c.item_hash == item_hash)) or 0
    rows = [
        {"item_hash": item_hash, "n": n, "forget_hash": message.item_hash, "body": message.body}
        for n, message in enumerate(messages, top + 1)
    ]
    if rows:
        connection.execute(insert(forgets), rows)


def next_forget(connection: Connection, item_hash: str) -> SignedMessage | None:
    """The first kill switch that is not burnt."""
    row = connection.execute(_unburnt(item_hash).limit(1)).first()
    return SignedMessage(row[0], row[1]) if row else None


def unburnt(connection: Connection, item_hash: str) -> tuple[SignedMessage, ...]:
    """Every kill switch that is not burnt, in order."""
    return tuple(SignedMessage(row[0], row[1]) for row in connection.execute(_unburnt(item_hash)))


def _unburnt(item_hash: str) -> Select[Any]:
    left = (forgets.c.item_hash == item_hash) & forgets.c.burnt_at.is_(None)
    return select(forgets.c.forget_hash, forgets.c.body).where(left).order_by(forgets.c.n)


def burn_forget(connection: Connection, item_hash: str, forget_hash: str, now: datetime) -> None:
    """Never offer this one again."""
    this = (forgets.c.item_hash == item_hash) & (forgets.c.forget_hash == forget_hash)
    connection.execute(update(forgets).where(this, forgets.c.burnt_at.is_(None)).values(burnt_at=now))
