"""Request keys: what was asked before gets the first answer again."""

import json
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from ...domain.errors import Conflict
from ...ports import Remembered
from .schema import requests

KEPT = 20_000
"""How many requests are remembered: far more than any client re-sends."""
_PRUNE_EVERY = 500


def remembered(connection: Connection, request_key: str) -> Remembered | None:
    """What a request key was used for."""
    columns = (requests.c.tool, requests.c.arguments_hash, requests.c.create_id, requests.c.answer)
    row = connection.execute(select(*columns).where(requests.c.request_key == request_key)).one_or_none()
    if row is None:
        return None
    return Remembered(row.tool, row.arguments_hash, row.create_id, row.answer and json.loads(row.answer))


def claim(connection: Connection, request_key: str, what: Remembered, now: datetime) -> None:
    """Bind a key to a request that changes something. Raises Conflict when another has it.

    The further attempts of one create share its key.
    """
    old = remembered(connection, request_key)
    if old is None:
        _add(connection, request_key, what, now)
    elif not what.create_id or (old.create_id, old.arguments_hash) != (what.create_id, what.arguments_hash):
        raise Conflict("This request was made before.", "Send it again under its own id to get its answer.")


def remember(connection: Connection, request_key: str, what: Remembered, now: datetime) -> None:
    """Record an answer; the first one stays."""
    old = remembered(connection, request_key)
    if old is None:
        _add(connection, request_key, what, now)
    elif old.answer is None and (old.tool, old.arguments_hash) == (what.tool, what.arguments_hash):
        statement = update(requests).where(requests.c.request_key == request_key)
        connection.execute(statement.values(answer=_dumped(what)))


def _add(connection: Connection, request_key: str, what: Remembered, now: datetime) -> None:
    values = {
        "request_key": request_key,
        "at": now,
        "tool": what.tool,
        "arguments_hash": what.arguments_hash,
        "create_id": what.create_id,
        "answer": _dumped(what),
    }
    n = connection.execute(insert(requests).values(**values).returning(requests.c.n)).scalar_one()
    if n % _PRUNE_EVERY == 0:
        connection.execute(delete(requests).where(requests.c.n <= n - KEPT))


def _dumped(what: Remembered) -> str | None:
    return None if what.answer is None else json.dumps(what.answer)
