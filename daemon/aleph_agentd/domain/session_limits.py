"""What the environment of a shim may ask for: tighter limits. It belongs to the agent (rules.md 11)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .caller import SessionLimits
from .limits import LONGEST_LEASE_HOURS, Limits, is_stricter
from .money import parse_amount, show

PREFIX = "ALEPH_AGENT_"

_NOT_SETTINGS = frozenset({"CONFIG", "RUNTIME_DIR", "AUTOSTART", "RUN_INTEGRATION"})
_ADDRESSES = frozenset({"HUMAN_ADDRESS", "AGGREGATE_ADDRESS"})
_PATHS = frozenset({"PRIVATE_KEY_PATH", "INVENTORY_PATH"})
_MOST_VARIABLES = 200
_LONGEST_SHOWN = 120


@dataclass(frozen=True, kw_only=True)
class DaemonSettings:
    """What a session's environment is compared with."""

    limits: Limits
    same: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Settings that a session must share with the daemon to spend: name to the spellings that are the same."""
    config_file: str = "config.toml"
    home: str = ""


class Asked(NamedTuple):
    """What came of a session's environment."""

    limits: SessionLimits
    notices: tuple[str, ...]
    spending_refused: str
    """Why this session may not spend; empty when it may."""


class _Tightening(NamedTuple):
    """A limit that a session may tighten: its field, how it is written, how it is shown."""

    field: str
    read: Callable[[str], Any]
    show: Callable[[Any], str]


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError("it must not be negative")
    return number


def _hours(text: str) -> float:
    number = float(text)
    # Also false for NaN.
    if not 0 < number <= LONGEST_LEASE_HOURS:
        raise ValueError(f"it must be more than 0 and at most {LONGEST_LEASE_HOURS:g} hours")
    return number


def _names(text: str) -> frozenset[str]:
    return frozenset(part for part in (item.strip() for item in text.split(",")) if part)


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


_AMOUNTS = (
    "MAX_SESSION_SPEND",
    "COST_THRESHOLD",
    "MAX_DAILY_SPEND",
    "MAX_HOURLY_BURN",
    "MIN_BALANCE",
    "HUMAN_APPROVAL_THRESHOLD",
)
_COUNTS = (
    "MAX_CONCURRENT_VMS",
    "BALANCE_GUARD_PERCENT",
    "MAX_CREATES_PER_HOUR",
    "MAX_COMPUTE_UNITS",
    "MAX_EXTENSIONS",
)
_TIGHTENINGS = (
    {name: _Tightening(f"{name.lower()}_units", parse_amount, show) for name in _AMOUNTS}
    | {name: _Tightening(name.lower(), _count, str) for name in _COUNTS}
    | {
        name: _Tightening(name.lower(), _hours, "{:g}".format)
        for name in ("MAX_TTL_HOURS", "DEFAULT_TTL_HOURS")
    }
    | {name: _Tightening(name.lower(), _names, _listed) for name in ("ALLOWED_OS_IMAGES", "ALLOWED_CRNS")}
)


def session_limits(env: Mapping[str, str], daemon: DaemonSettings) -> Asked:
    """The session's own limits, what of its settings was ignored, and whether it may spend at all."""
    wishes: dict[str, Any] = {}
    notices: list[str] = []
    refusals: list[str] = []
    for name, text in _settings(env):
        if name in daemon.same:
            if text and not _is_same(name, text, daemon):
                refusals.append(_refusal(name, text, daemon))
        elif name in _TIGHTENINGS:
            _tighten(name, text, daemon, wishes, notices, refusals)
        elif name not in _NOT_SETTINGS:
            notices.append(f"{PREFIX}{name} is ignored: it is set for the daemon, in {daemon.config_file}.")
    return Asked(SessionLimits(**wishes), tuple(notices), " ".join(refusals))


def _settings(env: Mapping[str, str]) -> list[tuple[str, str]]:
    """Ours among the variables, clean enough to be shown."""
    found = sorted((str(k), str(v).strip()) for k, v in env.items() if str(k).startswith(PREFIX))
    return [(_clean(k.removeprefix(PREFIX)), v) for k, v in found[:_MOST_VARIABLES]]


def _tighten(
    name: str,
    text: str,
    daemon: DaemonSettings,
    wishes: dict[str, Any],
    notices: list[str],
    refusals: list[str],
) -> None:
    limit = _TIGHTENINGS[name]
    if text.lower() in ("", "off", "none"):
        return
    try:
        asked = limit.read(text)
    except (ValueError, OverflowError):
        # Its owner wanted a limit: going on without one would be looser than was meant.
        refusals.append(
            f"{PREFIX}{name} of this session is {_clean(text)!r}, which cannot be read: correct or remove it."
        )
        return
    ours = getattr(daemon.limits, limit.field)
    if is_stricter(limit.field, asked, ours):
        wishes[limit.field] = asked
    else:
        notices.append(
            f"{PREFIX}{name}={_clean(text)} of this session is ignored: it is looser than the owner's "
            f"{limit.show(ours)}. To raise it, the owner sets {_line(name, text)} in [policy] of "
            f"{daemon.config_file}."
        )


def _is_same(name: str, text: str, daemon: DaemonSettings) -> bool:
    return _spelling(name, text, daemon) in {_spelling(name, one, daemon) for one in daemon.same[name]}


def _spelling(name: str, text: str, daemon: DaemonSettings) -> str:
    if name in _ADDRESSES:
        return text.lower()
    if name in _PATHS and text.startswith("~/"):
        return f"{daemon.home}/{text[2:]}"
    return text.rstrip("/")


def _refusal(name: str, text: str, daemon: DaemonSettings) -> str:
    return (
        f"{PREFIX}{name} of this session differs from the daemon's, so the session may not spend: remove it here, "
        f"or the owner sets {_line(name, text)} in {daemon.config_file} and restarts aleph-agentd."
    )


def _line(name: str, text: str) -> str:
    # A database's address may hold a password, and this line is shown to models and people.
    escaped = "…" if name == "DATABASE_URL" else _clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'`{name.lower()} = "{escaped}"`'


def _clean(text: str) -> str:
    return "".join(c for c in text[:_LONGEST_SHOWN] if c.isprintable() and c != "`")
