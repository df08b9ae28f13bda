"""The key and the CCN: what is signed, posted and said of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from ..domain.crn import Gpu
from ..domain.forwards import Forwards
from ..domain.model import Crn, NetworkInstance, PublishedEnd, SignedMessage, Stamp


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
    guest_pubkey: str = ""
    """The daemon's own key into this VM, beside its renter's."""
    gpu: Gpu | None = None


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

    async def sign_extension(self, item_hash: str, end: PublishedEnd, at: datetime) -> SignedMessage:
        """One immutable entry of our own AGGREGATE; its content is dated `at`, later at each call."""
        ...

    async def sign_ports(self, item_hash: str, payer: str, forwards: Forwards, at: datetime) -> SignedMessage:
        """An AGGREGATE of the payer's with all that is open of exactly that VM; its content is dated `at`."""
        ...


class Messages(Protocol):
    """The CCN: messages."""

    async def post(self, message: SignedMessage) -> None:
        """Broadcast. Returning says only that a CCN has seen the bytes: decide from `status`."""
        ...

    async def status(self, item_hash: str) -> MessageStatus:
        """What one CCN says of it now."""
        ...

    async def opinions(self, item_hash: str) -> tuple[MessageStatus, ...]:
        """What each CCN that answers says of it now (rules.md 2); at least one."""
        ...

    async def which(self, item_hashes: Sequence[str], status: MessageStatus) -> frozenset[str]:
        """Those INSTANCEs among at most 64 that one CCN lists as FORGOTTEN, or as PROCESSED or removing.

        Not to be among them says nothing.
        """
        ...

    async def rejection(self, item_hash: str) -> Rejection | None:
        """Why it was rejected; None when the CCN does not say that it was."""
        ...

    async def sender(self, item_hash: str) -> str | None:
        """Who signed a message, whatever became of it; None when the network does not say."""
        ...

    async def instances(self, sender: str) -> list[NetworkInstance]:
        """Every processed or removing INSTANCE of this sender, over all pages. A partial listing raises."""
        ...

    async def published_ends(self, owner: str) -> dict[str, PublishedEnd]:
        """By hash, the newest extension that this address has published; empty when it never published one."""
        ...

    async def forwards(self, owner: str) -> dict[str, Forwards]:
        """By hash, the ports that this address asks for; a VM may be there with none. Not there: closed."""
        ...

    async def granted(self, payer: str, agent: str) -> frozenset[str]:
        """Which types of messages the payer lets the agent send for it; empty when it grants none."""
        ...

    async def removing(self, sender: str) -> frozenset[str]:
        """The hashes of this sender's INSTANCEs that the network is removing. A partial listing raises."""
        ...

    async def network_time(self) -> datetime:
        """A CCN's clock (its `Date` header)."""
        ...
