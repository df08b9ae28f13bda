"""What a call leaves in the audit log: one entry, and one more for the rule that denied it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..domain.caller import Caller
from ..domain.errors import BadInput, Denied, NotFound, Refusal
from ..services.auditor import Auditor
from .base import Answer, Arguments

_SHOWN = (
    "name",
    "item_hash",
    "purpose",
    "compute_units",
    "ttl_hours",
    "additional_hours",
    "os_image",
    "crn_hash",
    "dry_run",
    "confirmed",
    "max_hourly_cost",
    "quote_id",
    "reason",
    "action",
    "port",
    "protocol",
)
"""Arguments that an entry shows; of all the others, the digest alone."""
_LONGEST = 100


@dataclass
class Trail:
    """What is known of a call so far."""

    read_only: bool = False
    arguments: Arguments | None = None
    digest: str = ""
    answer: Answer | None = None


@contextmanager
def audited(auditor: Auditor, tool: str, caller: Caller) -> Iterator[Trail]:
    """Note a call when it ends, however it does."""
    trail, outcome, refused = Trail(), "broke off", False
    try:
        yield trail
        outcome = _success(trail)
    except Refusal as refusal:
        refused, outcome = True, _refusal(refusal)
        if isinstance(refusal, Denied):
            auditor.note("decision", f"{tool}: {outcome}: {refusal.message}", countable=True)
        raise
    finally:
        where = f" from {caller.project[:_LONGEST]} (claimed)" if caller.project else ""
        text = f"{tool[:_LONGEST]}{_arguments(trail)}{where}: {outcome}"
        item_hash = str(getattr(trail.answer, "item_hash", None) or "")
        auditor.note("call", text, item_hash, countable=refused or trail.read_only)


def _success(trail: Trail) -> str:
    status = getattr(trail.answer, "status", "")
    return f"ok, {status}" if isinstance(status, str) and status else "ok"


def _refusal(refusal: Refusal) -> str:
    match refusal:
        case Denied():
            return f"denied by {refusal.code}"
        case BadInput() | NotFound():  # its words may repeat what was given
            return f"refused: {refusal.code}"
    return f"refused: {refusal.code}: {refusal.message}"


def _arguments(trail: Trail) -> str:
    if trail.arguments is None:
        return ""
    given = trail.arguments.model_fields_set
    values = trail.arguments
    shown = [f" {name}={str(getattr(values, name))[:_LONGEST]}" for name in _SHOWN if name in given]
    return f"{''.join(shown)} [{trail.digest[:16]}]"
