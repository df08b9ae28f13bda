"""The durable truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from ..domain.leases import LEASE_ENDED
from ..domain.model import Event, Exposure, Intent, Movement, SignedMessage, Vm, VmState
from .approvals import ApprovalBook
from .audit import AuditLog
from .freezes import FreezeLog
from .guest_keys import GuestKeys
from .rebuilding import Rebuilding
from .reckoning import Reckoning
from .restoring import Restoring
from .retention import Retention


class StaleRow(Exception):
    """The row is not in a state from which this change may happen: somebody else was faster."""

    def __init__(self, vm: Vm) -> None:
        super().__init__(f"{vm.item_hash} is {vm.state}")
        self.vm = vm


@dataclass(frozen=True)
class Remembered:
    """What was made of a request key before."""

    tool: str
    arguments_hash: str
    create_id: str = ""
    answer: dict[str, Any] | None = None


@dataclass(frozen=True)
class Endings:
    """The teardowns that are not through yet, in numbers."""

    stuck: int
    """Those that failed often."""
    failures: int
    """Attempts of all of them that failed since they were ordered."""
    oldest_end: datetime | None
    """Whose lease ended, or ends, first of those that the network may still be billing."""


Decide = Callable[[Exposure], None]
"""Raises a Refusal when the exposure leaves no room; called inside the transaction, so it must not wait."""


class Inventory(
    Rebuilding, Restoring, Retention, FreezeLog, AuditLog, ApprovalBook, Reckoning, GuestKeys, Protocol
):
    """The durable truth: VMs, leases, intents, ledger, events. Each method is one transaction.

    A method that returned has been written to disk; one that was cancelled or died has happened
    completely or not at all.
    """

    version: int
    """Grows with every committed write."""
    on_change: Callable[[], None] | None
    """Called in the event loop after every committed write."""
    trouble: str
    """Why the last write failed, in one line; empty when it did not."""

    async def admit(self, intent: Intent, decide: Decide, now: datetime, budgets: Sequence[str] = ()) -> Vm:
        """Commit 1: `decide`, then row, reservation, signed messages, request key. All or nothing.

        `budgets`: the project directories whose shares are decided on too. An intent with an `approval` spends
        it in the same transaction; raises Denied when it cannot.
        """
        ...

    async def exposure(
        self, session: str, now: datetime, budgets: Sequence[str] = (), *, uid: int = -1
    ) -> Exposure:
        """What is bound now, as `admit` would see it for a session of this uid."""
        ...

    async def remembered(self, request_key: str) -> Remembered | None:
        """What a request key was used for."""
        ...

    async def remember(self, request_key: str, what: Remembered, now: datetime) -> None:
        """Record the answer of a request; the first one wins."""
        ...

    async def get(self, item_hash: str) -> Vm | None:
        """The row."""
        ...

    async def find(self, reference: str, limit: int = 10) -> list[Vm]:
        """Rows by exact hash, else by name among the living, else by a prefix of at least 8 characters."""
        ...

    async def attempts_of(self, create_id: str) -> list[Vm]:
        """The rows of one create, oldest first."""
        ...

    async def page(self, *, states: Sequence[VmState], limit: int, after: str = "") -> list[Vm]:
        """Rows in these states by creation, newest first; `after` is the last hash of the page before."""
        ...

    async def count(self, states: Sequence[VmState]) -> int:
        """How many rows are in these states."""
        ...

    async def next_end(self) -> Vm | None:
        """The row whose lease ends first, of all that run; None when none runs."""
        ...

    async def end_when_idle(self) -> list[Vm]:
        """The running rows that were made to end when they are idle."""
        ...

    async def stuck(self, limit: int) -> list[Vm]:
        """Rows whose teardown failed often (`Vm.stuck`), those first that were ordered to end first."""
        ...

    async def endings(self) -> Endings:
        """What is being torn down; it costs the same however many VMs there are."""
        ...

    async def due(self, now: datetime, limit: int) -> list[Vm]:
        """Rows whose `leases.due_at` has come, most urgent first."""
        ...

    async def ending(self, after: datetime, by: datetime, limit: int) -> list[Vm]:
        """Leases that run after one instant and end by another, those first that end first."""
        ...

    async def reap(
        self, by: datetime | None, now: datetime, limit: int, cause: str = LEASE_ENDED
    ) -> list[Vm]:
        """Order the teardown of the leases that ended by then, the dearest first; None: of all leases.

        The rows as they are now.
        """
        ...

    async def hurry(self, now: datetime, crn_url: str = "") -> int:
        """Teardowns that were postponed are due now: all, or those whose erase waits for one CRN. How many."""
        ...

    async def next_due_at(self, after: datetime | None = None) -> datetime | None:
        """The earliest `leases.due_at` of all rows, or of those later than `after`; may lie in the past."""
        ...

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
        """One legal transition with its cause and facts.

        Raises StaleRow when it is not legal now, or when the lease has another version than the given one.
        """
        ...

    async def note(self, item_hash: str, *, states: frozenset[VmState] | None = None, **facts: Any) -> Vm:
        """Facts without a transition, only if the row is in one of `states` (else StaleRow)."""
        ...

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
        """Move the end of a running lease, reserving more; only while `expires_at > now` (else StaleRow).

        With `lease_version`: only if the lease still has that version. With `approval`: only by spending it.
        """
        ...

    async def settle(
        self, item_hash: str, cause: str, now: datetime, *, to: VmState | None = None, **facts: Any
    ) -> Vm:
        """Billing has ended: facts and transition, then release the reservation and book `Vm.cost_units`.

        Once: later calls move no money.
        """
        ...

    async def create_message(self, item_hash: str) -> SignedMessage | None:
        """The signed INSTANCE of an intent."""
        ...

    async def next_forget(self, item_hash: str) -> SignedMessage | None:
        """The pre-signed FORGET to post next; the same one until it is marked as burnt."""
        ...

    async def forgets(self, item_hash: str) -> tuple[SignedMessage, ...]:
        """Every pre-signed FORGET that is not burnt, in the order in which they are to be posted."""
        ...

    async def burn_forget(self, item_hash: str, forget_hash: str, now: datetime) -> None:
        """This FORGET was posted and did not take effect: never post it again."""
        ...

    async def add_forgets(self, item_hash: str, forgets: Sequence[SignedMessage]) -> None:
        """More kill switches for a VM."""
        ...

    async def balances(self, item_hashes: Sequence[str]) -> dict[str, tuple[int, int]]:
        """`(reserved, spent)` units of each VM."""
        ...

    async def ledger(self, limit: int, item_hash: str = "") -> list[Movement]:
        """The newest movements."""
        ...

    async def record(self, kind: str, item_hash: str, text: str, now: datetime) -> Event:
        """Add an event."""
        ...

    async def events(self, after_id: int, limit: int) -> list[Event]:
        """Events after this id, oldest first."""
        ...

    async def last_event_id(self) -> int:
        """The id of the newest event; 0 when there is none."""
        ...

    async def known(self, item_hashes: Sequence[str]) -> dict[str, Vm]:
        """The rows among these hashes, tombstones included."""
        ...
