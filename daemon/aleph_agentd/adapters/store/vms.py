"""The rows of VMs: reading them, and the few ways in which they change."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    insert,
    or_,
    select,
    type_coerce,
    update,
)

from ...domain.errors import Conflict, NotFound
from ...domain.leases import due_at
from ...domain.model import LEASED, LIVE, STUCK_AFTER_ATTEMPTS, TOMBSTONES, TRANSITIONS, Vm, VmState
from ...ports import Endings, StaleRow
from . import guest_keys
from .rows import chunks, to_row, to_vm
from .schema import ledger, vms

_HASH_PREFIX = re.compile(r"[0-9a-f]{8,64}")
_LONGEST_REFERENCE = 256
_FIXED = frozenset(
    {"item_hash", "lease_id", "create_id", "created_at", "state", "expires_at", "lease_version"}
)
"""What no fact may change: identity, and what only transitions and extensions move."""


def add(connection: Connection, vm: Vm) -> None:
    """A new row. Raises Conflict when there is one for this hash."""
    if get(connection, vm.item_hash) is not None:
        raise Conflict(f"There is a VM {vm.item_hash} already.")
    connection.execute(insert(vms).values(**to_row(vm)))


def get(connection: Connection, item_hash: str) -> Vm | None:
    """The row, if there is one."""
    row = connection.execute(select(vms).where(vms.c.item_hash == item_hash)).one_or_none()
    return to_vm(row) if row else None


def held(connection: Connection, item_hash: str) -> Vm:
    """The row, kept from changing until the transaction ends. Raises NotFound."""
    return _sought(connection, item_hash, select(vms).with_for_update())


def found(connection: Connection, item_hash: str) -> Vm:
    """The row as it is. Raises NotFound."""
    return _sought(connection, item_hash, select(vms))


def _sought(connection: Connection, item_hash: str, query: Select[Any]) -> Vm:
    row = connection.execute(query.where(vms.c.item_hash == item_hash)).one_or_none()
    if row is None:
        raise NotFound(f"There is no VM {item_hash[:64]} in the inventory.", "See aleph_list_my_vms.")
    return to_vm(row)


def change(connection: Connection, vm: Vm, **facts: Any) -> Vm:
    """Store changed fields of a held row, whichever they are, and its new due time; a tombstone keeps no SSH key."""
    changed = replace(vm, **facts)
    if changed.state in TOMBSTONES and vm.state in LIVE:
        guest_keys.drop(connection, vm.item_hash)
    statement = update(vms).where(vms.c.item_hash == vm.item_hash)
    connection.execute(statement.values(**facts, due_at=due_at(changed)))
    return changed


def change_all(connection: Connection, rows: Sequence[Vm], **facts: Any) -> list[Vm]:
    """Store the same changed fields of many held rows, in few statements."""
    changed = [replace(vm, **facts) for vm in rows]
    by_due_at: defaultdict[datetime | None, list[str]] = defaultdict(list)
    for vm in changed:
        by_due_at[due_at(vm)].append(vm.item_hash)
    for at, item_hashes in by_due_at.items():
        for chunk in chunks(item_hashes):
            statement = update(vms).where(vms.c.item_hash.in_(chunk))
            connection.execute(statement.values(**facts, due_at=at))
    return changed


def note(
    connection: Connection, item_hash: str, states: Collection[VmState] | None, facts: dict[str, Any]
) -> Vm:
    """Facts without a transition."""
    check_facts(facts)
    vm = held(connection, item_hash)
    if states is not None and vm.state not in states:
        raise StaleRow(vm)
    return change(connection, vm, **facts)


def check_transition(vm: Vm, to: VmState) -> None:
    """Raises StaleRow when a row in its state may not become this."""
    if to not in TRANSITIONS[vm.state]:
        raise StaleRow(vm)


def check_facts(facts: dict[str, Any]) -> None:
    """Raises TypeError for what is not a fact: a mistake in our own code."""
    if wrong := _FIXED & facts.keys():
        raise TypeError(f"not changed as a fact: {', '.join(sorted(wrong))}")


def find(connection: Connection, reference: str, limit: int) -> list[Vm]:
    """By exact hash, else by name among the living, else by prefix: the living, else all."""
    wanted = reference.strip()
    if not wanted or len(wanted) > _LONGEST_REFERENCE or not wanted.isprintable():
        return []
    if exact := get(connection, wanted.lower()):
        return [exact]
    living = select(vms).where(vms.c.state.in_(LIVE))
    if named := _newest(connection, living.where(vms.c.name == wanted), limit):
        return named
    prefix = wanted.lower()
    if not _HASH_PREFIX.fullmatch(prefix):
        return []
    # Every hash that starts so, as a range: no LIKE, so nothing to escape, and any engine's index serves.
    begins = and_(vms.c.item_hash >= prefix, vms.c.item_hash < prefix + "g")
    return _newest(connection, living.where(begins), limit) or _newest(
        connection, select(vms).where(begins), limit
    )


def _newest(connection: Connection, query: Select[Any], limit: int) -> list[Vm]:
    ordered = query.order_by(vms.c.created_at.desc(), vms.c.item_hash.desc()).limit(limit)
    return [to_vm(row) for row in connection.execute(ordered)]


def attempts_of(connection: Connection, create_id: str) -> list[Vm]:
    """The rows of one create, in the order in which their reservations were written: a clock may be set back."""
    written = select(func.min(ledger.c.n)).where(ledger.c.item_hash == vms.c.item_hash).scalar_subquery()
    query = select(vms).where(vms.c.create_id == create_id).order_by(written, vms.c.created_at)
    return [to_vm(row) for row in connection.execute(query)]


def page(connection: Connection, states: Sequence[VmState], limit: int, after: str) -> list[Vm]:
    """Newest first, from behind `after`. Raises NotFound when that row is no longer there."""
    query = select(vms).where(_in_passing(states))
    if after:
        last = found(connection, after)
        earlier = or_(vms.c.created_at < last.created_at, vms.c.item_hash < last.item_hash)
        query = query.where(vms.c.created_at <= last.created_at, earlier)
    return _newest(connection, query, limit)


def _in_passing(states: Collection[VmState]) -> ColumnElement[bool]:
    """For queries that another index serves better: in its order, or for its few rows.

    As a cast no index serves it: SQLite would look up every row of these states, ten thousand for a page.
    """
    return cast(vms.c.state, Text).in_([state.value for state in states])


def next_end(connection: Connection) -> Vm | None:
    """Of a leased row, `due_at` is the end of its lease."""
    leased = select(vms).where(vms.c.due_at.is_not(None), _in_passing(LEASED))
    row = connection.execute(leased.order_by(vms.c.due_at).limit(1)).one_or_none()
    return to_vm(row) if row else None


def end_when_idle(connection: Connection) -> list[Vm]:
    """Those that run and were made to end when they are idle."""
    query = select(vms).where(_in_passing({VmState.RUNNING}), vms.c.idle_minutes > 0)
    return [to_vm(row) for row in connection.execute(query)]


def stuck(connection: Connection, limit: int) -> list[Vm]:
    """Those first that were ordered to end first."""
    failing = (vms.c.state == VmState.DESTROYING) & (vms.c.attempts >= STUCK_AFTER_ATTEMPTS)
    query = select(vms).where(failing).order_by(vms.c.destroy_at, vms.c.item_hash).limit(limit)
    return [to_vm(row) for row in connection.execute(query)]


def endings(connection: Connection) -> Endings:
    """What is being torn down, in numbers."""
    ending = vms.c.state == VmState.DESTROYING
    stuck = func.sum(case((vms.c.attempts >= STUCK_AFTER_ATTEMPTS, 1), else_=0))
    failures, often = connection.execute(select(func.sum(vms.c.attempts), stuck).where(ending)).one()
    billed = select(func.min(vms.c.expires_at)).where(ending, vms.c.forgotten_at.is_(None))
    return Endings(int(often or 0), int(failures or 0), connection.scalar(billed))


def count(connection: Connection, states: Sequence[VmState]) -> int:
    """How many rows are in these states."""
    return connection.scalar(select(func.count()).where(vms.c.state.in_(states))) or 0


def due(connection: Connection, now: datetime, limit: int) -> list[Vm]:
    """Rows whose time has come, in the order of `leases.urgency`."""
    return _most_urgent(connection, select(vms).where(vms.c.due_at <= now), limit)


def ending(connection: Connection, after: datetime, by: datetime, limit: int) -> list[Vm]:
    """Leases that run after one instant and end by another, in the order of their ends."""
    query = select(vms).where(
        vms.c.due_at <= by, vms.c.state.in_(LEASED), vms.c.expires_at > after, vms.c.expires_at <= by
    )
    ordered = query.order_by(vms.c.expires_at, vms.c.item_hash).limit(limit)
    return [to_vm(row) for row in connection.execute(ordered)]


def ended(connection: Connection, by: datetime | None, limit: int) -> list[Vm]:
    """Rows whose lease is over, or all that are leased, kept from changing until the transaction ends."""
    query = select(vms).where(_in_passing(LEASED))
    if by is not None:
        query = query.where(vms.c.due_at <= by, vms.c.expires_at <= by)
    return _most_urgent(connection, query.with_for_update(), limit)


def _most_urgent(connection: Connection, query: Select[Any], limit: int) -> list[Vm]:
    billing = and_(vms.c.state.in_(LIVE), vms.c.forgotten_at.is_(None))
    ordered = query.order_by(
        billing.desc(),
        vms.c.state.in_(LEASED).desc(),
        cast(type_coerce(vms.c.rate, Text), Float).desc(),
        vms.c.due_at,
    )
    return [to_vm(row) for row in connection.execute(ordered.limit(limit))]


def hurry(connection: Connection, now: datetime, crn_url: str) -> int:
    """Postponed teardowns are due now: all, or those whose erase waits for one CRN."""
    waits = and_(vms.c.state == VmState.DESTROYING, vms.c.next_attempt_at > now)
    if crn_url:
        waits = and_(waits, vms.c.crn_url == crn_url, vms.c.forgotten_at.is_not(None))
    return connection.execute(update(vms).where(waits).values(next_attempt_at=now, due_at=now)).rowcount


def next_due_at(connection: Connection, after: datetime | None) -> datetime | None:
    """The earliest due time of all rows, or of those later than `after`."""
    query = select(func.min(vms.c.due_at))
    earliest: datetime | None = connection.scalar(
        query if after is None else query.where(vms.c.due_at > after)
    )
    return earliest


def known(connection: Connection, item_hashes: Sequence[str]) -> dict[str, Vm]:
    """The rows among these hashes."""
    rows = (
        to_vm(row)
        for chunk in chunks(item_hashes)
        for row in connection.execute(select(vms).where(vms.c.item_hash.in_(chunk)))
    )
    return {vm.item_hash: vm for vm in rows}
