"""Requests that wait for a human. Contract: `ports.ApprovalBook`."""

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from ...domain import money
from ...domain.approvals import IGNORED_BEFORE_PAUSE, OPEN, Approval, ApprovalState
from ...domain.errors import Denied
from ...ports import MayAsk
from . import events
from .schema import approvals as table
from .transactions import Transactions

_FIELDS = tuple(field.name for field in fields(Approval))
_KEPT = timedelta(days=30)
_SUPERSEDED = {
    "state": ApprovalState.DENIED,
    "decided_by": "the daemon",
    "outcome": "the price or the policy has changed since: it is asked anew",
}


class ApprovalStore(Transactions):
    """The part of SqlInventory that remembers what a human was asked."""

    async def ask(self, asking: Approval, may: MayAsk) -> Approval:
        """The same open request, or this one. Raises what `may` raises."""
        return await self._transact(lambda c: ask(c, asking, may))

    async def approval(self, approval_id: str) -> Approval | None:
        """One request."""
        return await self._read(lambda c: get(c, approval_id))

    async def approvals(self, *, open_only: bool, limit: int) -> list[Approval]:
        """The newest first."""
        query = select(table).where(table.c.state.in_(OPEN)) if open_only else select(table)
        return await self._read(lambda c: _newest(c, query.order_by(table.c.asked_at.desc()).limit(limit)))

    async def decide(
        self,
        approval_id: str,
        states: frozenset[ApprovalState],
        to: ApprovalState,
        by: str,
        outcome: str,
        now: datetime,
    ) -> Approval | None:
        """Move a request, if it is in one of `states` and its time is not over."""
        facts = {"state": to, "decided_at": now, "decided_by": by, "outcome": outcome}
        return await self._transact(lambda c: decide(c, approval_id, states, facts))

    async def note_outcome(self, approval_id: str, outcome: str) -> None:
        """Why it could not be carried out yet."""
        statement = update(table).where(table.c.id == approval_id, table.c.state == ApprovalState.APPROVED)
        await self._transact(lambda c: c.execute(statement.values(outcome=outcome)) and None)

    async def expire(self, now: datetime) -> list[Approval]:
        """Close those whose time is over."""
        return await self._transact(lambda c: expire(c, now))

    async def void_approvals(self, reason: str, now: datetime) -> int:
        """Close every open one."""
        return await self._transact(lambda c: void(c, reason, now))

    async def denials(self, by: str, since: datetime) -> int:
        """How many were denied by somebody since then."""
        query = select(func.count()).where(
            table.c.state == ApprovalState.DENIED, table.c.decided_by == by, table.c.decided_at > since
        )
        return await self._read(lambda c: c.scalar(query) or 0)


def ask(connection: Connection, asking: Approval, may: MayAsk) -> Approval:
    """Find it, or write it down."""
    expire(connection, asking.asked_at)
    of_uid = select(table).where(table.c.uid == asking.uid)
    open_ = _newest(connection, of_uid.where(table.c.state.in_(OPEN)))
    for one in open_:
        if (one.session, one.fingerprint) != (asking.session, asking.fingerprint):
            continue
        if one.policy_version == asking.policy_version and one.units >= asking.units:
            return one
        _close(connection, one, _SUPERSEDED | {"decided_at": asking.asked_at}, asking.asked_at)
        open_ = [other for other in open_ if other is not one]
    closed = of_uid.where(table.c.state.not_in(OPEN)).order_by(table.c.decided_at.desc())
    may(open_, _newest(connection, closed.limit(IGNORED_BEFORE_PAUSE)))
    connection.execute(insert(table).values(**{name: getattr(asking, name) for name in _FIELDS}))
    connection.execute(delete(table).where(table.c.decided_at < asking.asked_at - _KEPT))
    text = f"{asking.kind} for {asking.client}, at most {money.show(asking.units)}"
    _record(connection, "asked", asking, asking.asked_at, text)
    return asking


def get(connection: Connection, approval_id: str) -> Approval | None:
    """The row, if there is one."""
    found = _newest(connection, select(table).where(table.c.id == approval_id))
    return found[0] if found else None


def decide(
    connection: Connection, approval_id: str, states: Iterable[ApprovalState], facts: dict[str, Any]
) -> Approval | None:
    """One conditional update, and its event."""
    statement = update(table).where(
        table.c.id == approval_id, table.c.state.in_(states), table.c.expires_at > facts["decided_at"]
    )
    if not connection.execute(statement.values(**facts)).rowcount:
        return None
    decided = get(connection, approval_id)
    if decided is not None:
        _record(connection, decided.state, decided, facts["decided_at"], f"by {decided.decided_by}")
    return decided


def use(connection: Connection, approval_id: str, outcome: str, now: datetime) -> None:
    """Spend an approval, inside the admission that it is for; further attempts of the same create share it."""
    statement = update(table).where(
        table.c.id == approval_id,
        or_(
            (table.c.state == ApprovalState.APPROVED) & (table.c.expires_at > now),
            (table.c.state == ApprovalState.USED) & (table.c.outcome == outcome),
        ),
    )
    if not connection.execute(statement.values(state=ApprovalState.USED, outcome=outcome)).rowcount:
        raise Denied(
            f"The approval {approval_id} was spent, withdrawn, or is over.",
            "Send the request again: the owner is asked anew.",
            code="approval_spent",
        )


def expire(connection: Connection, now: datetime) -> list[Approval]:
    """Nobody decided, or nobody used it, in time."""
    late = _newest(connection, select(table).where(table.c.state.in_(OPEN), table.c.expires_at <= now))
    for one in late:
        approved = one.state is ApprovalState.APPROVED
        outcome = f"approved, but not carried out in time: {one.outcome}" if approved else "nobody decided"
        facts = {"state": ApprovalState.EXPIRED, "decided_at": one.expires_at, "outcome": outcome}
        _close(connection, one, facts, now)
    return late


def void(connection: Connection, reason: str, now: datetime) -> int:
    """None of them holds any more."""
    facts = _SUPERSEDED | {"decided_at": now, "outcome": reason}
    open_ = _newest(connection, select(table).where(table.c.state.in_(OPEN)))
    for one in open_:
        _close(connection, one, facts, now)
    return len(open_)


def _close(connection: Connection, approval: Approval, facts: dict[str, Any], now: datetime) -> None:
    connection.execute(update(table).where(table.c.id == approval.id).values(**facts))
    _record(connection, facts["state"], approval, now, facts["outcome"])


def _record(connection: Connection, what: str, approval: Approval, now: datetime, text: str) -> None:
    events.record(connection, f"approval_{what}", "", f"{approval.id}: {text}", now)


def _newest(connection: Connection, query: Any) -> list[Approval]:
    rows = (row._mapping for row in connection.execute(query))
    return [
        Approval(
            **{name: row[name] for name in _FIELDS if name != "state"}, state=ApprovalState(row["state"])
        )
        for row in rows
    ]
