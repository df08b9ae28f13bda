"""The outside world as the services need it. The docstrings are the contract; adapters and fakes keep it.

Every call to the network may raise `NetworkTrouble`: it means *unknown*, and the call may have taken
effect. No call waits without a limit; each adapter sets its own time-outs.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from .domain.model import (
    Crn,
    Event,
    Exposure,
    Intent,
    Movement,
    NetworkInstance,
    SignedMessage,
    Stamp,
    Vm,
    VmState,
)


class NetworkTrouble(Exception):
    """A call whose outcome is not known: time-out, broken connection, 5xx, or an answer that makes no sense."""

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"{endpoint}: {reason}")
        self.endpoint = endpoint
        self.reason = reason


class StoreTrouble(Exception):
    """The inventory could not be read or written; the message says why, in one line."""


class KeyMissing(Exception):
    """There is no usable key; the message says why, in one line."""


class MessageStatus(StrEnum):
    """What a CCN says of a message. UNKNOWN is its 404: never proof of absence by itself."""

    PENDING = "pending"
    PROCESSED = "processed"
    REJECTED = "rejected"
    REMOVING = "removing"
    REMOVED = "removed"
    FORGOTTEN = "forgotten"
    UNKNOWN = "unknown"

    @property
    def billing_ended(self) -> bool:
        """Whether the network will never bill it again."""
        return self in (MessageStatus.FORGOTTEN, MessageStatus.REMOVED)

    @property
    def on_network(self) -> bool:
        """Whether a FORGET can take effect."""
        return self in (MessageStatus.PROCESSED, MessageStatus.REMOVING)


@dataclass(frozen=True)
class Rejection:
    """Why the network refused a message. `error_code` 6: not enough credits; 2: not authorised."""

    error_code: int
    text: str
    required_units: int | None = None
    balance_units: int | None = None


@dataclass(frozen=True)
class InstanceSpec:
    """What an INSTANCE says. Everything in it is public for ever."""

    payer: str
    crn: Crn
    vcpus: int
    memory_mib: int
    disk_mib: int
    rootfs: str
    ssh_pubkey: str
    stamp: Stamp


class Signer(Protocol):
    """Signs exactly what the daemon builds. Nothing else reaches the key. Raises KeyMissing."""

    @property
    def address(self) -> str:
        """The checksummed address of the key."""
        ...

    @property
    def trouble(self) -> str:
        """Why there is no usable key, in one line; empty when there is one."""
        ...

    async def sign_instance(self, spec: InstanceSpec) -> SignedMessage:
        """A new INSTANCE. Each call makes another hash: persist what it returns."""
        ...

    async def sign_forgets(self, item_hash: str, payer: str, count: int) -> tuple[SignedMessage, ...]:
        """`count` FORGETs of exactly that one hash, with distinct reasons."""
        ...


class Messages(Protocol):
    """The CCN: messages."""

    async def post(self, message: SignedMessage) -> None:
        """Broadcast. Returning says only that a CCN has seen the bytes: decide from `status`."""
        ...

    async def status(self, item_hash: str) -> MessageStatus:
        """What one CCN says of it now."""
        ...

    async def rejection(self, item_hash: str) -> Rejection | None:
        """Why it was rejected; None when the CCN does not say that it was."""
        ...

    async def instances(self, sender: str) -> list[NetworkInstance]:
        """Every processed or removing INSTANCE of this sender, over all pages. A partial listing raises."""
        ...

    async def network_time(self) -> datetime:
        """A CCN's clock (its `Date` header)."""
        ...


@dataclass(frozen=True)
class Price:
    """The live price of one compute unit."""

    cu_rate: Decimal
    """Units per second."""


@dataclass(frozen=True)
class CrnList:
    """The CRNs of the network, and how old the list is."""

    crns: tuple[Crn, ...]
    age_s: float


class Market(Protocol):
    """Prices, balances and CRNs. Answers may be as old as: balance 5 s, price 10 min, CRN list 60 s."""

    async def balance(self, payer: str) -> int:
        """The payer's credits, in units."""
        ...

    async def price(self) -> Price:
        """The live price."""
        ...

    async def estimate(self, message: SignedMessage) -> Decimal:
        """What a CCN says this very INSTANCE will cost, in units per second."""
        ...

    async def crns(self) -> CrnList:
        """The CRNs; hostile text in it is already cut and stripped (rules.md 18)."""
        ...

    def images(self) -> dict[str, str]:
        """OS image names to rootfs hashes."""
        ...


class NotifyOutcome(StrEnum):
    """What a CRN said to a notify."""

    ACCEPTED = "accepted"
    TOO_EARLY = "too_early"
    """500 "Aleph message not found": ask again shortly."""
    NO_CREDITS = "no_credits"
    REFUSED = "refused"


@dataclass(frozen=True)
class Notified:
    """The outcome and the CRN's words, cut and stripped."""

    outcome: NotifyOutcome
    text: str = ""


@dataclass(frozen=True)
class Execution:
    """One VM on a CRN's list. Address fields are empty until they are known and sound (rules.md 18)."""

    running: bool
    host_ipv4: str = ""
    ssh_port: int = 0
    ipv6: str = ""


class EraseOutcome(StrEnum):
    """What a CRN said to an erase."""

    ERASED = "erased"
    NOT_THERE = "not_there"
    """404: not in its pool; not proof, look at the list."""
    REFUSED = "refused"


class Hosts(Protocol):
    """The CRNs. `url` comes from our own row or the CRN list, never from an agent."""

    async def notify(self, url: str, item_hash: str) -> Notified:
        """Ask a CRN to run the VM. Never once teardown began: it resurrects."""
        ...

    async def execution(self, url: str, item_hash: str) -> Execution | None:
        """This VM on the CRN's list; None: the list answered, and it is not on it."""
        ...

    async def erase(self, url: str, item_hash: str) -> EraseOutcome:
        """Stop the VM and delete its volumes. Raises KeyMissing without a key."""
        ...

    async def ssh_answers(self, host: str, port: int) -> bool:
        """Whether an SSH server greets there, within a few seconds."""
        ...


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


Decide = Callable[[Exposure], None]
"""Raises a Refusal when the exposure leaves no room; called inside the transaction, so it must not wait."""


class Inventory(Protocol):
    """The durable truth: VMs, leases, intents, ledger, events. Each method is one transaction.

    A method that returned has been written to disk; one that was cancelled or died has happened
    completely or not at all.
    """

    version: int
    """Grows with every committed write."""
    on_change: Callable[[], None] | None
    """Called in the event loop after every committed write."""

    async def admit(self, intent: Intent, decide: Decide, now: datetime) -> Vm:
        """Commit 1: `decide`, then row, reservation, signed messages, request key. All or nothing."""
        ...

    async def exposure(self, session: str, now: datetime) -> Exposure:
        """What is bound now, as `admit` would see it."""
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

    async def due(self, now: datetime, limit: int) -> list[Vm]:
        """Rows whose `leases.due_at` has come, most urgent first."""
        ...

    async def next_due_at(self) -> datetime | None:
        """The earliest `leases.due_at` of all rows; may lie in the past."""
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
    ) -> Vm:
        """Move the end of a running lease, reserving more; only while `expires_at > now` (else StaleRow).

        With `lease_version`: only if the lease still has that version.
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


class Timers(Protocol):
    """Alarms that may be lost without harm."""

    def every(self, name: str, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        """Run again and again, never twice at once; the first time after `seconds`."""
        ...

    def at(self, name: str, when: datetime | None, run: Callable[[], Awaitable[None]]) -> None:
        """One alarm by this name: moved by a later call, removed by None; an instant in the past fires at once."""
        ...

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """Forget all alarms."""
        ...
