"""When a row needs attention. Pure: the store keeps `due_at(vm)` in an indexed column."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from .model import LEASED, Vm, VmState

LEASE_ENDED = "its lease ended"
"""The cause of a teardown that the reaper orders."""
VERIFY_AFTER = timedelta(minutes=5)
"""After its end a VM is looked up once more: a late notify brings it back."""
SECOND_LOOK_AFTER = timedelta(minutes=30)
"""And after the end of its billing: another CCN may not have heard of it before (rules.md 2)."""
CLAIM = timedelta(seconds=120)
"""How long a pass of a teardown may take before the reaper looks at the row again."""
HOST_LOST_AFTER = timedelta(days=7)
GONE_UNVERIFIED = "gone_unverified"
"""The flag of a VM whose billing has ended, and whose CRN is not to be found any more (rules.md 1)."""
UNKNOWN_PROOF = timedelta(minutes=30)
"""How long the network must not know bytes that may have left before they count as never sent."""

SOON = timedelta(minutes=15)
"""How long before the end of a lease people and agents are told."""

_BACKOFF_FIRST_S = 10.0
_BACKOFF_MAX_S = 3600.0
_BACKOFF_BILLED_MAX_S = 120.0
"""While it costs money, the network's return is not waited for longer than this."""


def due_at(vm: Vm) -> datetime | None:
    """The next instant at which the reaper must look at this row; None when never again."""
    if vm.state in LEASED:
        return vm.expires_at
    if vm.state is VmState.DESTROYING:
        return vm.next_attempt_at or vm.destroy_at or vm.expires_at
    if vm.state is VmState.GONE and (at := _look_at(vm)) is not None:
        return vm.next_attempt_at or at
    return None


def ends_soon(vm: Vm, now: datetime) -> bool:
    """Whether its lease is in its last 15 minutes, or last quarter where the whole lease is shorter than an hour."""
    notice = min(SOON, (vm.expires_at - vm.created_at) / 4)
    return vm.state in LEASED and now < vm.expires_at <= now + notice


def _look_at(vm: Vm) -> datetime | None:
    """When a VM that is gone is to be looked up again."""
    if vm.verified_at is None:
        return vm.ended_at and vm.ended_at + VERIFY_AFTER
    again = vm.forgotten_at and vm.forgotten_at + SECOND_LOOK_AFTER
    return again if again and vm.verified_at < again else None


def host_is_lost(vm: Vm, now: datetime) -> bool:
    """Whether its CRN has been missing for so long that nobody will ever confirm the erase."""
    return vm.host_lost_at is not None and now - vm.host_lost_at >= HOST_LOST_AFTER


def due(rows: Iterable[Vm], now: datetime) -> list[Vm]:
    """The rows that need attention now: leases first, the dearest first."""
    ripe = [vm for vm in rows if (at := due_at(vm)) is not None and at <= now]
    return sorted(ripe, key=urgency)


def urgency(vm: Vm) -> tuple[bool, bool, int]:
    """Sort key: what may still be billed before what is not, leases before retries, the dearest first."""
    return (not vm.billing, vm.state not in LEASED, -vm.hourly_units)


def next_deadline(rows: Iterable[Vm], now: datetime) -> datetime | None:
    """The earliest instant at which any row needs attention; never in the past."""
    instants = [at for vm in rows if (at := due_at(vm)) is not None]
    return max(now, min(instants)) if instants else None


def backoff(attempts: int, jitter: float, *, billing: bool = False) -> timedelta:
    """10 s, 20 s, … 1 h (2 min while it is billed) after the `attempts`-th failure, ± 20 % by `jitter` in 0 … 1."""
    longest = _BACKOFF_BILLED_MAX_S if billing else _BACKOFF_MAX_S
    seconds = min(longest, _BACKOFF_FIRST_S * 2 ** min(max(0, attempts - 1), 20))
    return timedelta(seconds=seconds * (0.8 + 0.4 * jitter))
