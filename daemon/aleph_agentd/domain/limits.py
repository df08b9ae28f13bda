"""What the owner allows. Amounts in network units; None switches a limit off."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .caller import SessionLimits
from .money import UNITS_PER_CREDIT, whole_s

LONGEST_LEASE_HOURS = 8760.0
"""No setting may ask for leases longer than a year."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The policy's numbers, with the mission's defaults and ours."""

    max_concurrent_vms: int = 3
    default_ttl_hours: float = 4.0
    max_ttl_hours: float = 24.0
    balance_guard_percent: int = 20
    cost_threshold_units: int = 10 * UNITS_PER_CREDIT
    max_session_spend_units: int | None = None
    max_daily_spend_units: int | None = 1000 * UNITS_PER_CREDIT
    max_hourly_burn_units: int | None = None
    min_balance_units: int | None = None
    human_approval_threshold_units: int | None = 200 * UNITS_PER_CREDIT
    max_creates_per_hour: int = 20
    allowed_os_images: frozenset[str] | None = None
    allowed_crns: frozenset[str] | None = None
    max_compute_units: int | None = None
    accept_terms: frozenset[str] | None = None
    """Terms and conditions of CRNs, by hash, that the owner has accepted for every agent."""
    approval_by_client: bool = False
    """Whether the answer of an MCP client to a question counts as a human's."""
    max_extensions: int | None = None
    teardown_below_runway_minutes: int | None = None
    """Below this, the VM whose lease ends next is ended: it lets what is more lasting run on."""
    projects: Mapping[str, SessionLimits] = field(default_factory=dict)
    """Sub-budgets by project directory (see projects.py)."""

    @property
    def version(self) -> str:
        """Names exactly these limits: what was quoted or approved under others is asked again."""
        return hashlib.sha256(repr(_canonical(vars(self))).encode()).hexdigest()[:12]

    @property
    def default_ttl_s(self) -> int:
        """The lease of a create that names none, in seconds."""
        return whole_s(self.default_ttl_hours)

    @property
    def max_ttl_s(self) -> int:
        """The longest whole life of a VM, extensions included, in seconds."""
        return whole_s(self.max_ttl_hours)


def _canonical(value: Any) -> object:
    """The same for equal values, in whatever order they were written."""
    if isinstance(value, SessionLimits):
        value = vars(value)
    if isinstance(value, Mapping):
        return sorted((name, _canonical(item)) for name, item in value.items())
    return sorted(value) if isinstance(value, frozenset) else value


def tighten(limits: Limits, wish: SessionLimits) -> Limits:
    """The owner's limits with a session's own wishes, of which only the stricter ones count."""

    stricter = {
        name: value
        for name, value in vars(wish).items()
        if value is not None and is_stricter(name, value, getattr(limits, name))
    }
    return replace(limits, **stricter)


def is_stricter(name: str, asked: Any, ours: Any) -> bool:
    """Whether a session's wish for the limit of this name leaves less room than the owner's, or as much."""
    if ours is None:
        return True
    if isinstance(asked, frozenset):
        return bool(asked <= ours)
    if name == "min_balance_units":
        return bool(asked >= ours)
    return bool(asked <= ours)
