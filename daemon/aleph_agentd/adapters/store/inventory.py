"""The inventory of ports/ in SQL: each method is one transaction over the plain functions beside it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ...domain.leases import LEASE_ENDED
from ...domain.model import (
    Event,
    Exposure,
    Intent,
    Movement,
    SignedMessage,
    Vm,
    VmState,
)
from ...ports import Decide, Endings, Remembered
from . import events, imports, leases, ledger, messages, requests, vms
from .approvals import ApprovalStore
from .auditing import AuditStore
from .binding import BindingStore
from .exposure import exposure
from .freezes import FreezeStore
from .guest_keys import GuestKeyStore
from .predecessor import Defaults, Imported
from .rebuilding import RebuildingStore
from .reckoning import ReckoningStore
from .restoring import RestoringStore
from .retention import RetentionStore


class SqlInventory(
    RebuildingStore,
    RestoringStore,
    RetentionStore,
    FreezeStore,
    AuditStore,
    ApprovalStore,
    ReckoningStore,
    GuestKeyStore,
    BindingStore,
):
    """VMs, leases, intents, ledger and events in one database. Contract: `ports.Inventory`."""

    async def admit(self, intent: Intent, decide: Decide, now: datetime, budgets: Sequence[str] = ()) -> Vm:
        """Commit 1. Raises what `decide` raises, or Conflict when the request key is taken."""
        return await self._transact(lambda c: leases.admit(c, intent, decide, now, budgets))

    async def exposure(
        self, session: str, now: datetime, budgets: Sequence[str] = (), *, uid: int = -1
    ) -> Exposure:
        """What is bound now."""
        return await self._read(lambda c: exposure(c, session, now, budgets, uid=uid))

    async def remembered(self, request_key: str) -> Remembered | None:
        """What a request key was used for."""
        return await self._read(lambda c: requests.remembered(c, request_key))

    async def remember(self, request_key: str, what: Remembered, now: datetime) -> None:
        """Record the answer of a request; the first one stays."""
        await self._transact(lambda c: requests.remember(c, request_key, what, now))

    async def get(self, item_hash: str) -> Vm | None:
        """The row."""
        return await self._read(lambda c: vms.get(c, item_hash))

    async def find(self, reference: str, limit: int = 10) -> list[Vm]:
        """Rows by hash, name or prefix."""
        return await self._read(lambda c: vms.find(c, reference, limit))

    async def attempts_of(self, create_id: str) -> list[Vm]:
        """The rows of one create, oldest first."""
        return await self._read(lambda c: vms.attempts_of(c, create_id))

    async def page(self, *, states: Sequence[VmState], limit: int, after: str = "") -> list[Vm]:
        """Rows in these states, newest first. Raises NotFound when `after` is not there any more."""
        return await self._read(lambda c: vms.page(c, states, limit, after))

    async def count(self, states: Sequence[VmState]) -> int:
        """How many rows are in these states."""
        return await self._read(lambda c: vms.count(c, states))

    async def next_end(self) -> Vm | None:
        """The row whose lease ends first."""
        return await self._read(vms.next_end)

    async def end_when_idle(self) -> list[Vm]:
        """Rows that run and end when they are idle."""
        return await self._read(vms.end_when_idle)

    async def stuck(self, limit: int) -> list[Vm]:
        """Rows whose teardown failed often."""
        return await self._read(lambda c: vms.stuck(c, limit))

    async def endings(self) -> Endings:
        """What is being torn down."""
        return await self._read(vms.endings)

    async def due(self, now: datetime, limit: int) -> list[Vm]:
        """Rows whose time has come, most urgent first."""
        return await self._read(lambda c: vms.due(c, now, limit))

    async def ending(self, after: datetime, by: datetime, limit: int) -> list[Vm]:
        """Leases that end between two instants, in the order of their ends."""
        return await self._read(lambda c: vms.ending(c, after, by, limit))

    async def reap(
        self, by: datetime | None, now: datetime, limit: int, cause: str = LEASE_ENDED
    ) -> list[Vm]:
        """Order the teardown of ended leases, in one transaction."""
        return await self._transact(lambda c: leases.reap(c, by, now, limit, cause))

    async def hurry(self, now: datetime, crn_url: str = "") -> int:
        """Postponed teardowns are due now."""
        return await self._transact(lambda c: vms.hurry(c, now, crn_url))

    async def next_due_at(self, after: datetime | None = None) -> datetime | None:
        """The earliest due time of all rows, or of those later than `after`."""
        return await self._read(lambda c: vms.next_due_at(c, after))

    async def move(
        self,
        item_hash: str,
        to: VmState,
        cause: str,
        now: datetime,
        *,
        lease_version: int | None = None,
        **facts: Any,
    ) -> Vm:
        """One legal transition, with its event. Raises StaleRow, or NotFound without a row."""
        step = leases.Transition(item_hash, to, cause, lease_version)
        return await self._transact(lambda c: leases.move(c, step, now, facts))

    async def note(self, item_hash: str, *, states: frozenset[VmState] | None = None, **facts: Any) -> Vm:
        """Facts without a transition. Raises StaleRow, or NotFound without a row."""
        return await self._transact(lambda c: vms.note(c, item_hash, states, facts))

    async def extend(
        self,
        item_hash: str,
        expires_at: datetime,
        reserve_units: int,
        decide: Decide,
        now: datetime,
        session: str,
        request: tuple[str, Remembered] | None = None,
        *,
        lease_version: int | None = None,
        budgets: Sequence[str] = (),
        uid: int = -1,
        approval: str = "",
    ) -> Vm:
        """Move the end of a running lease later. Raises StaleRow, Conflict, or what `decide` raises."""
        asked = leases.Extension(
            item_hash,
            expires_at,
            reserve_units,
            session,
            request,
            lease_version,
            tuple(budgets),
            uid,
            approval,
        )
        return await self._transact(lambda c: leases.extend(c, asked, decide, now))

    async def settle(
        self, item_hash: str, cause: str, now: datetime, *, to: VmState | None = None, **facts: Any
    ) -> Vm:
        """Facts, transition, release and booking in one; money moves once. Raises StaleRow or NotFound."""
        return await self._transact(lambda c: leases.settle(c, item_hash, cause, now, to, facts))

    async def create_message(self, item_hash: str) -> SignedMessage | None:
        """The signed INSTANCE."""
        return await self._read(lambda c: messages.create_message(c, item_hash))

    async def next_forget(self, item_hash: str) -> SignedMessage | None:
        """The pre-signed FORGET to post next."""
        return await self._read(lambda c: messages.next_forget(c, item_hash))

    async def forgets(self, item_hash: str) -> tuple[SignedMessage, ...]:
        """The kill switches that are left, in order."""
        return await self._read(lambda c: messages.unburnt(c, item_hash))

    async def burn_forget(self, item_hash: str, forget_hash: str, now: datetime) -> None:
        """Never post this FORGET again."""
        await self._transact(lambda c: messages.burn_forget(c, item_hash, forget_hash, now))

    async def add_forgets(self, item_hash: str, forgets: Sequence[SignedMessage]) -> None:
        """More kill switches."""
        await self._transact(lambda c: messages.add_forgets(c, item_hash, forgets))

    async def balances(self, item_hashes: Sequence[str]) -> dict[str, tuple[int, int]]:
        """`(reserved, spent)` units of each VM."""
        return await self._read(lambda c: ledger.balances(c, item_hashes))

    async def ledger(self, limit: int, item_hash: str = "") -> list[Movement]:
        """The newest movements."""
        return await self._read(lambda c: ledger.newest(c, limit, item_hash))

    async def record(self, kind: str, item_hash: str, text: str, now: datetime) -> Event:
        """Add an event."""
        return await self._transact(lambda c: events.record(c, kind, item_hash, text, now))

    async def events(self, after_id: int, limit: int) -> list[Event]:
        """Events after this id, oldest first."""
        return await self._read(lambda c: events.since(c, after_id, limit))

    async def last_event_id(self) -> int:
        """The id of the newest event, or 0."""
        return await self._read(events.last_id)

    async def known(self, item_hashes: Sequence[str]) -> dict[str, Vm]:
        """The rows among these hashes."""
        return await self._read(lambda c: vms.known(c, item_hashes))

    async def import_predecessor(self, path: Path, defaults: Defaults) -> Imported | None:
        """Take over a predecessor's JSON inventory, once; None: no such file, or done before."""
        text = await asyncio.to_thread(imports.load, path)
        if text is None:
            return None
        return await self._transact(lambda c: imports.take_over(c, path, text, defaults))
