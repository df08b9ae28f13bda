"""The changes that touch several tables: admit, move, extend, settle."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from ...domain import money
from ...domain.clock import iso
from ...domain.leases import CLAIM
from ...domain.model import LEASED, Intent, Vm, VmState
from ...ports import Decide, Remembered, StaleRow
from . import approvals, audit, events, guest_keys, ledger, messages, requests, vms
from .exposure import exposure

CREATE_TOOL = "aleph_create_vm"


@dataclass(frozen=True)
class Transition:
    """A state that a row shall enter; only from this version of its lease, if one is given."""

    item_hash: str
    to: VmState
    cause: str
    lease_version: int | None


@dataclass(frozen=True)
class Extension:
    """A lease that shall end later."""

    item_hash: str
    expires_at: datetime
    reserve_units: int
    session: str
    request: tuple[str, Remembered] | None
    lease_version: int | None = None
    budgets: tuple[str, ...] = ()
    uid: int = -1
    approval: str = ""


def admit(
    connection: Connection, intent: Intent, decide: Decide, now: datetime, budgets: Sequence[str] = ()
) -> Vm:
    """Decide on what is bound now, then write the intent."""
    vm = replace(intent.vm, state=VmState.INTENDED)
    if intent.request_key is not None:
        what = Remembered(CREATE_TOOL, intent.request_hash, vm.create_id)
        requests.claim(connection, intent.request_key, what, now)
    decide(exposure(connection, vm.session, now, budgets, uid=vm.uid))
    if intent.approval:
        approvals.use(connection, intent.approval, vm.create_id, now)
    vms.add(connection, vm)
    messages.add_create(connection, intent.create)
    messages.add_forgets(connection, vm.item_hash, intent.forgets)
    guest_keys.add(connection, vm.item_hash, intent.guest_key, intent.setup)
    ledger.reserve(
        connection,
        vm,
        vm.session,
        intent.reserve_units,
        "admitted",
        now,
        uid=vm.uid,
        approval=intent.approval,
    )
    allowed(connection, f"create {vm.name}", vm, intent.reserve_units, now)
    events.record(connection, vm.state, vm.item_hash, vm.cause, now)
    return vm


def move(connection: Connection, step: Transition, now: datetime, facts: dict[str, Any]) -> Vm:
    """One legal transition and its event."""
    vms.check_facts(facts)
    vm = vms.held(connection, step.item_hash)
    vms.check_transition(vm, step.to)
    if step.lease_version not in (None, vm.lease_version):
        raise StaleRow(vm)
    events.record(connection, step.to, vm.item_hash, step.cause, now)
    return vms.change(connection, vm, **facts, state=step.to, cause=step.cause)


def reap(connection: Connection, by: datetime | None, now: datetime, limit: int, cause: str) -> list[Vm]:
    """Every ended lease to `destroying`: read and changed in one, so that no extension comes in between."""
    ended = vms.ended(connection, by, limit)
    events.record_all(connection, VmState.DESTROYING, [vm.item_hash for vm in ended], cause, now)
    facts = {"destroy_at": now, "next_attempt_at": now + CLAIM, "attempts": 0}
    return vms.change_all(connection, ended, **facts, state=VmState.DESTROYING, cause=cause)


def extend(connection: Connection, asked: Extension, decide: Decide, now: datetime) -> Vm:
    """Push the end of a running lease later; an expired one is never revived."""
    vm = vms.held(connection, asked.item_hash)
    if asked.request is not None:
        requests.claim(connection, *asked.request, now)
    outrun = asked.lease_version is not None and asked.lease_version != vm.lease_version
    if outrun or vm.state not in LEASED or vm.expires_at <= now or asked.expires_at <= vm.expires_at:
        raise StaleRow(vm)
    decide(exposure(connection, asked.session, now, asked.budgets, uid=asked.uid, besides=vm.item_hash))
    if asked.approval:
        approvals.use(connection, asked.approval, vm.item_hash, now)
    vm = vms.change(connection, vm, expires_at=asked.expires_at, lease_version=vm.lease_version + 1)
    ledger.reserve(
        connection,
        vm,
        asked.session,
        asked.reserve_units,
        "extended",
        now,
        uid=asked.uid,
        approval=asked.approval,
    )
    allowed(connection, f"extend {vm.name}", vm, asked.reserve_units, now)
    events.record(connection, "extended", vm.item_hash, f"until {iso(vm.expires_at)}", now)
    return vm


def settle(
    connection: Connection,
    item_hash: str,
    cause: str,
    now: datetime,
    to: VmState | None,
    facts: dict[str, Any],
) -> Vm:
    """Billing has ended: facts and transition, then the reservation is released and the cost booked, once."""
    vms.check_facts(facts)
    vm = vms.held(connection, item_hash)
    if to is not None and to is not vm.state:
        vms.check_transition(vm, to)
        events.record(connection, to, item_hash, cause, now)
        facts = {**facts, "state": to, "cause": cause}
    vm = vms.change(connection, vm, **facts)
    if ledger.settle(connection, vm, cause, now):
        events.record(connection, "settled", item_hash, cause, now)
    return vm


def allowed(connection: Connection, what: str, vm: Vm, units: int, now: datetime) -> None:
    """That every rule agreed, for the audit log."""
    text = f"{what}: allowed by every rule; {money.show(units)} reserved, until {iso(vm.expires_at)}"
    audit.record(connection, "decision", vm.item_hash, text, now)
