"""Sub-budgets by the client's project directory: only tighter than the owner's limits, never instead of them.

The directory is what the client claims. A budget divides the money among agents that say truly where
they work; one that does not is held by the owner's own limits alone.
"""

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import replace

from . import money
from .caller import SessionLimits
from .case import Case
from .errors import Denied
from .limits import Limits, tighten
from .model import Exposure, Share

_TOGETHER = {
    "max_concurrent_vms": None,
    "max_daily_spend_units": None,
    "max_hourly_burn_units": None,
    "max_creates_per_hour": None,
}
"""Limits on what all VMs of a directory bind together; the others hold for each request by itself."""


def directory(claim: str) -> str:
    """A claimed path in its shortest spelling, so that no detour leads around a budget."""
    return "/" + posixpath.normpath(claim).lstrip("/") if claim.startswith("/") else claim


def budgets_of(limits: Limits, project: str) -> tuple[str, ...]:
    """The directories whose budgets hold for a project: its own and those above it."""
    return tuple(path for path in sorted(limits.projects) if covers(path, project))


def covers(path: str, project: str) -> bool:
    """Whether a budget's directory is this project or lies above it."""
    return project == path or project.startswith(path.rstrip("/") + "/")


def for_project(limits: Limits, project: str) -> Limits:
    """The owner's limits with what a project's budgets say of a single request, where that is stricter."""
    for path in budgets_of(limits, project):
        limits = tighten(limits, replace(limits.projects[path], **_TOGETHER))
    return limits


def _held(
    look: Callable[[Case, SessionLimits, Share], tuple[str, str] | None], code: str, hint: str
) -> Callable[[Case, Limits, Exposure], None]:
    """A rule over every budget that holds for the case's project."""

    def rule(case: Case, limits: Limits, exposure: Exposure) -> None:
        for path in budgets_of(limits, case.project):
            # A share that was not read is a mistake of ours, and must not pass.
            objection = look(case, limits.projects[path], exposure.shares[path])
            if objection:
                bound, limit = objection
                raise Denied(
                    f"The VMs of the project {path} (as their clients claim) {bound}; its budget is {limit}.",
                    hint,
                    code=f"project_{code}",
                )

    return rule


def _vms(case: Case, budget: SessionLimits, share: Share) -> tuple[str, str] | None:
    limit = budget.max_concurrent_vms
    if case.what != "extend" and limit is not None and share.live_vms >= limit:
        return f"are {share.live_vms} already", f"{limit} at a time"
    return None


def _day(case: Case, budget: SessionLimits, share: Share) -> tuple[str, str] | None:
    limit = budget.max_daily_spend_units
    if limit is not None and share.day_units + case.reserve_units > limit:
        bound, more = money.show(share.day_units), money.show(case.reserve_units)
        return (
            f"have spent in 24 hours, or reserved, {bound}, and this is {more} more",
            f"{money.show(limit)} per day",
        )
    return None


def _burn(case: Case, budget: SessionLimits, share: Share) -> tuple[str, str] | None:
    limit = budget.max_hourly_burn_units
    burn = share.burn_units_per_hour + case.hourly_units
    if case.what != "extend" and limit is not None and burn > limit:
        return f"would cost {money.show(burn)} per hour", money.show(limit)
    return None


def _creates(case: Case, budget: SessionLimits, share: Share) -> tuple[str, str] | None:
    limit = budget.max_creates_per_hour
    if case.what == "create" and limit is not None and share.creates_last_hour >= limit:
        return f"were tried {share.creates_last_hour} times in the last hour", f"{limit} creates per hour"
    return None


_DESTROY = "Destroy a VM of this project that is not needed, ask for less, or ask the owner to raise it."
PROJECT_RULES = (
    _held(_vms, "max_concurrent_vms", _DESTROY),
    _held(_day, "max_daily_spend", _DESTROY),
    _held(_burn, "max_hourly_burn", _DESTROY),
    _held(_creates, "max_creates_per_hour", "Use a VM that exists, or wait."),
)


def grown(shares: Mapping[str, Share], case: Case) -> dict[str, Share]:
    """The shares once this create was admitted."""
    return {
        path: Share(
            live_vms=share.live_vms + 1,
            day_units=share.day_units + case.reserve_units,
            burn_units_per_hour=share.burn_units_per_hour + case.hourly_units,
            creates_last_hour=share.creates_last_hour + 1,
        )
        for path, share in shares.items()
    }
