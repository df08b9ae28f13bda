"""The CRNs: where VMs run."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ..domain.model import SignedMessage


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


class RestartOutcome(StrEnum):
    """What a CRN said to a reboot or a reinstall."""

    DONE = "done"
    NOT_OFFERED = "not_offered"
    """404: it has no such VM, or no such operation."""
    REFUSED = "refused"


class ReserveOutcome(StrEnum):
    """What became of asking a CRN to keep what a VM needs."""

    RESERVED = "reserved"
    """For a minute, for its payer."""
    NOT_NEEDED = "not_needed"
    """It needs nothing that is kept (only GPUs are), or the CRN would keep it from its payer."""
    NOT_OFFERED = "not_offered"
    """404: a node that keeps nothing."""
    REFUSED = "refused"


@dataclass(frozen=True)
class Reserved:
    """The outcome and the CRN's words, cut and stripped."""

    outcome: ReserveOutcome
    text: str = ""


class Hosts(Protocol):
    """The CRNs. `url` comes from our own row or the CRN list, never from an agent."""

    async def reserve(self, url: str, create: SignedMessage) -> Reserved:
        """Ask a CRN to keep the GPU that this INSTANCE needs, before it is broadcast. Costs nothing; may be repeated."""
        ...

    async def notify(self, url: str, item_hash: str) -> Notified:
        """Ask a CRN to run the VM. Never once teardown began: it resurrects."""
        ...

    async def execution(self, url: str, item_hash: str) -> Execution | None:
        """This VM on the CRN's list; None: the list answered, and it is not on it."""
        ...

    async def executions(self, url: str, item_hashes: Sequence[str]) -> dict[str, Execution]:
        """Those of these VMs that are on the CRN's list; it is asked once."""
        ...

    async def erase(self, url: str, item_hash: str) -> EraseOutcome:
        """Stop the VM and delete its volumes. Raises KeyMissing without a key."""
        ...

    async def restart(self, url: str, item_hash: str, *, wipe: bool) -> RestartOutcome:
        """Reboot a VM; with `wipe` from its first image. Raises KeyMissing without a key."""
        ...

    async def ssh_answers(self, host: str, port: int) -> bool:
        """Whether an SSH server greets there, within a few seconds."""
        ...
