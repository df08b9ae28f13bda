"""Who is on the other end of a call."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Progress = Callable[[float, float | None, str], Awaitable[None]]
"""Reports `(done, total or None, message)` to whoever waits for a long call."""


@dataclass(frozen=True)
class Peer:
    """What the kernel says of the process at the other end of a socket (SO_PEERCRED)."""

    uid: int
    pid: int
    human: bool = False
    """True on control.sock, which an agent's sandbox is not given."""


@dataclass(frozen=True)
class SessionLimits:
    """Limits that a session's own environment asks for: each can only tighten. None: no wish."""

    max_session_spend_units: int | None = None
    max_concurrent_vms: int | None = None
    max_ttl_hours: float | None = None
    cost_threshold_units: int | None = None
    default_ttl_hours: float | None = None
    balance_guard_percent: int | None = None
    max_daily_spend_units: int | None = None
    max_hourly_burn_units: int | None = None
    min_balance_units: int | None = None
    human_approval_threshold_units: int | None = None
    max_creates_per_hour: int | None = None
    max_compute_units: int | None = None
    max_extensions: int | None = None
    allowed_os_images: frozenset[str] | None = None
    allowed_crns: frozenset[str] | None = None


@dataclass(frozen=True)
class Caller:
    """One session's identity. `project` and `client` are claims of the client, never proof."""

    session: str
    peer: Peer
    project: str = ""
    client: str = ""
    limits: SessionLimits = field(default_factory=SessionLimits)
    spending_refused: str = ""
    """Not empty: why this session may not spend (its settings name another key, payer or network)."""
    notices: tuple[str, ...] = ()
    """Settings of the session that were ignored; shown once in its first answer."""
    parents: str = ""
    """The processes above the peer, by the kernel: what the owner is shown of who asks."""
