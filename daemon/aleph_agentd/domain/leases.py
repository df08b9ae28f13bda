"""When a row needs attention. Pure: the store keeps `due_at(vm)` in an indexed column."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from .model import LEASED, Vm, VmState

VERIFY_AFTER = timedelta(minutes=5)
UNKNOWN_PROOF = timedelta(minutes=30)
"""How long the network must not know bytes that may have left before they count as never sent."""

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
    if vm.state is VmState.GONE and vm.verified_at is None and vm.ended_at is not None:
        return vm.next_attempt_at or vm.ended_at + VERIFY_AFTER
    return None


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
