"""How a running VM is, from what was seen of it. Pure. A flag never ends a VM by itself."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .model import Vm
from .reconcile import MOST_ENDED

REMOVING, UNREACHABLE, OFF_HOST = "removing", "unreachable", "off_host"
FLAGS = (REMOVING, UNREACHABLE, OFF_HOST)
"""The gravest first."""
OFF_HOST_LOOKS = 2
"""How often in a row its CRN must have listed its VMs without it."""


@dataclass
class Seen:
    """What was seen of one VM in this life of the daemon."""

    unlisted: int = 0
    """How often in a row its CRN did not list it."""
    silent_since: datetime | None = None
    """Since when SSH has not answered."""
    knocked: int = 0
    """The pass in which SSH was tried last."""

    def silent_for(self, now: datetime) -> timedelta:
        """How long SSH has not answered."""
        return timedelta(0) if self.silent_since is None else now - self.silent_since


def flag_of(seen: Seen, now: datetime, *, removing: bool, patience: timedelta) -> str:
    """The gravest flag that fits; empty when all is well."""
    if removing:
        return REMOVING
    if seen.silent_since is not None and seen.silent_for(now) >= patience:
        return UNREACHABLE
    return OFF_HOST if seen.unlisted >= OFF_HOST_LOOKS else ""


def words(flag: str, patience: timedelta) -> str:
    """What a flag means, for people."""
    return {
        REMOVING: "the network is removing it, because the payer's credits run out: top up, or it is lost",
        UNREACHABLE: f"SSH has not answered for {int(patience.total_seconds() // 60)} min",
        OFF_HOST: "its CRN does not list it any more, while it is still billed",
        "": "all is well again",
    }[flag]


def to_end(silent: Sequence[Vm], answering: Collection[str], watched: int) -> tuple[list[Vm], str]:
    """Which unreachable VMs may be ended, and why none. Nobody answers: that is our own network (rules.md 20)."""
    if not silent:
        return [], ""
    if not answering:
        return [], "no other VM answers either, so it may be our own network"
    if len(silent) > MOST_ENDED or 2 * len(silent) > watched:
        return [], f"{len(silent)} of {watched} VMs at once are too many to be ended without a human"
    return list(silent), ""
