"""What somebody has stopped: creates and extends of everybody, or the creates of one project. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from .clock import iso
from .errors import Denied


class FreezeKind(StrEnum):
    """A panic also ends every VM, and stays a freeze when it is done."""

    FREEZE = "freeze"
    PANIC = "panic"


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """One stop, until a human lifts it."""

    n: int
    at: datetime
    kind: FreezeKind
    scope: str
    """Empty: everybody, extends too. Else one project, whose creates alone are stopped."""
    by: str
    reason: str

    @property
    def words(self) -> str:
        """What, since when, by whom and why."""
        what = f"Creates of {self.scope}" if self.scope else "Creates and extends"
        return f"{what} are frozen since {iso(self.at)} by {self.by}: {self.reason}"


def scope_of(project: str, session: str) -> str:
    """What an agent may freeze: its own project, or its own session when it names none."""
    return project or f"session {session}"


def check(freezes: Iterable[Freeze], what: str, scope: str) -> None:
    """Raise Denied while `what` (create or extend) is frozen for this scope."""
    for freeze in freezes:
        if not freeze.scope or (what == "create" and freeze.scope == scope):
            raise Denied(
                f"{freeze.words}.",
                "VMs that run go on and end on time. Only the owner lifts it: aleph-agentctl unfreeze",
                code="frozen",
            )
