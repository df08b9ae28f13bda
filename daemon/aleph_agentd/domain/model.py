"""The facts that the daemon keeps: VMs with their leases, and what may happen to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from . import money
from .crn import Crn as Crn


class VmState(StrEnum):
    """`intended → provisioning → running → destroying → gone`; `failed`: the network never took it."""

    INTENDED = "intended"
    PROVISIONING = "provisioning"
    RUNNING = "running"
    DESTROYING = "destroying"
    GONE = "gone"
    FAILED = "failed"


LEASED = frozenset({VmState.INTENDED, VmState.PROVISIONING, VmState.RUNNING})
"""States in which a lease runs."""

LIVE = LEASED | {VmState.DESTROYING}
"""States in which the network may hold, and bill, the VM."""
TOMBSTONES = frozenset({VmState.GONE, VmState.FAILED})

TRANSITIONS: dict[VmState, frozenset[VmState]] = {
    VmState.INTENDED: frozenset({VmState.PROVISIONING, VmState.DESTROYING, VmState.FAILED}),
    VmState.PROVISIONING: frozenset({VmState.RUNNING, VmState.DESTROYING, VmState.FAILED}),
    VmState.RUNNING: frozenset({VmState.DESTROYING}),
    VmState.DESTROYING: frozenset({VmState.GONE, VmState.FAILED}),
    # A tombstone that comes back to life is torn down again (rules.md 2).
    VmState.GONE: frozenset({VmState.DESTROYING}),
    VmState.FAILED: frozenset({VmState.DESTROYING}),
}

STUCK_AFTER_ATTEMPTS = 6


@dataclass(frozen=True, kw_only=True)
class Vm:
    """One VM that exists, may exist, or existed on the network under our key. A row of the inventory."""

    item_hash: str
    """SHA-256 of the INSTANCE message: the VM's identity on the network."""
    lease_id: str
    create_id: str
    """Shared by the attempts of one create on several CRNs."""
    name: str
    purpose: str = ""
    state: VmState
    cause: str
    """Why it is in this state, for people."""

    session: str = ""
    project: str = ""
    client: str = ""
    uid: int = -1

    payer: str
    signer: str
    crn_hash: str
    crn_name: str = ""
    crn_url: str
    compute_units: int
    vcpus: int
    memory_mib: int
    disk_mib: int
    os_image: str
    rate: Decimal
    """Units per second."""

    created_at: datetime
    expires_at: datetime
    lease_version: int = 1
    idle_minutes: int = 0
    """When it was idle for so long it ends early; 0: never."""
    save_paths: str = ""
    """What is taken out of it before its lease ends, one path a line."""
    saved: str = ""
    """What came of that, in words."""

    broadcast_at: datetime | None = None
    """Written before the first POST of the INSTANCE: from here on its bytes may have left."""
    processed_at: datetime | None = None
    notified_at: datetime | None = None
    running_at: datetime | None = None
    ssh_at: datetime | None = None
    """When SSH was first seen to answer."""

    host_ipv4: str = ""
    ssh_port: int = 0
    ipv6: str = ""

    destroy_at: datetime | None = None
    """When teardown was ordered."""
    forgotten_at: datetime | None = None
    """When the network was first seen to have ended the billing."""
    erased_at: datetime | None = None
    """When the CRN was first seen not to hold the VM any more."""
    ended_at: datetime | None = None
    verified_at: datetime | None = None
    """When it was looked up once more after its end."""
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_error: str = ""
    unknown_since: datetime | None = None
    """Since when the network says that it does not know the message."""
    host_lost_at: datetime | None = None
    """Since when its CRN has not answered and is not on the CRN list any more."""
    warned: str = ""
    """A flag for people: `stale`, `removing`, `gone_unverified`, …; empty when all is well."""

    @property
    def hourly_units(self) -> int:
        """Units per hour."""
        return money.hourly_units(self.rate)

    @property
    def billing(self) -> bool:
        """Whether the network may be billing it."""
        return self.state in LIVE and self.forgotten_at is None

    @property
    def stuck(self) -> bool:
        """Teardown failed often; still retried, and shown in every answer."""
        return self.state is VmState.DESTROYING and self.attempts >= STUCK_AFTER_ATTEMPTS

    def billed(self, now: datetime) -> timedelta:
        """How long the network has billed it, as far as we know: from its broadcast to its end."""
        if self.broadcast_at is None or (self.state is VmState.FAILED and self.forgotten_at is None):
            return timedelta()
        return max(timedelta(), (self.forgotten_at or now) - self.broadcast_at)

    def cost_units(self, now: datetime) -> int:
        """What it has cost so far, by our own clock, in units."""
        return money.cost_units(self.rate, money.exact_s(self.billed(now)))

    def ssh_command(self, user: str = "root") -> str:
        """The command that logs in, or nothing while the address is not known."""
        return f"ssh -p {self.ssh_port} {user}@{self.host_ipv4}" if self.host_ipv4 and self.ssh_port else ""


@dataclass(frozen=True)
class SignedMessage:
    """A signed message of the network, ready to be posted: about 1.2 kB of JSON."""

    item_hash: str
    body: str
    """The `message` object of `POST /api/v0/messages`, as JSON."""


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What commit 1 of a create writes, before anything is broadcast."""

    vm: Vm
    create: SignedMessage
    forgets: tuple[SignedMessage, ...]
    """Pre-signed kill switches with distinct reasons (rules.md 3)."""
    reserve_units: int
    request_key: str | None = None
    request_hash: str = ""
    approval: str = ""
    guest_key: str = field(default="", repr=False)
    """The human approval that is spent on it, and the private SSH key that lets the daemon into the VM."""
    setup: str = field(default="", repr=False)
    """What the VM runs once, at first contact."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an INSTANCE of ours carries in its metadata: public for ever (rules.md 10)."""

    installation: str
    lease_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NetworkInstance:
    """An INSTANCE as the network lists it."""

    item_hash: str
    sender: str
    payer: str
    received_at: datetime | None
    stamp: Stamp | None
    crn_hash: str = ""
    name: str = ""
    signed_at: datetime | None = None
    """The time in its content: its signer's word, so only to be believed of what we signed ourselves."""
    vcpus: int = 0
    memory_mib: int = 0
    disk_mib: int = 0
    rootfs: str = ""
    gpus: int = 0


@dataclass(frozen=True)
class PublishedEnd:
    """The newest end of a lease that was published: the `n`-th extension of it."""

    n: int
    expires_at: datetime


@dataclass(frozen=True)
class Expense:
    """What the network has booked of the payer's credits for one VM."""

    entry: str
    """Its name among all bookings."""
    at: datetime
    item_hash: str
    """Empty when the network does not say what it was for."""
    units: int


@dataclass(frozen=True)
class Restored:
    """The inventory was lost, or an old copy of it put back: since when that is known, and by what."""

    since: datetime
    why: str


@dataclass(frozen=True)
class Movement:
    """One row of the ledger. `account` is `reserved` or `spent`; balances are sums."""

    at: datetime
    item_hash: str
    session: str
    account: str
    units: int
    cause: str
    uid: int = -1
    """Who got a reservation; -1 when nobody asked for it."""
    approval: str = ""
    """The human approval that a reservation was made under."""


@dataclass(frozen=True)
class Event:
    """Something that happened, for people and for `events.watch`."""

    id: int
    at: datetime
    kind: str
    item_hash: str
    text: str


@dataclass(frozen=True)
class Share:
    """What the VMs of one budget's directory bind at one instant."""

    live_vms: int
    day_units: int
    """Settled in the last 24 hours, and everything open."""
    burn_units_per_hour: int
    creates_last_hour: int


@dataclass(frozen=True)
class Exposure:
    """What is bound and spent at one instant, read inside the admitting transaction."""

    live_vms: int
    reserved_units: int
    """Open reservations of all sessions."""
    unbilled_units: int
    """The part of them that the network has not billed yet, by our own clock."""
    spent_day_units: int
    """Settled in the last 24 hours."""
    session_units: int
    """Reserved and spent by the asking session."""
    burn_units_per_hour: int
    creates_last_hour: int
    names: frozenset[str] = frozenset()
    """Names of live VMs."""
    session_live_vms: int = 0
    unapproved_day_units: int = 0
    """What the asking uid got in the last 24 hours without a human's approval, other VMs only (rules.md 16)."""
    shares: Mapping[str, Share] = field(default_factory=dict)
    """What the VMs of a project bind, for each directory that was asked for."""
