"""What waits for a human's yes: facts, how long they wait, and how often one may ask. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from .clock import span
from .errors import Denied

PREFIX = "ap-"
"""How the id of a request begins."""
VALID = timedelta(minutes=30)
"""An approval that was not given by then is denied; one that was given is to be used by then."""
IGNORED_BEFORE_PAUSE = 2
PAUSE = timedelta(minutes=5)
OPEN_PER_SESSION, OPEN_PER_UID = 3, 10
DENIALS_BEFORE_FREEZE, DENIALS_WITHIN = 3, timedelta(minutes=10)
BY_CLIENT = "client elicitation"
"""Who decided, when an MCP client's answer did: no proof of a human, and marked as such."""
BY_OWNER = "the owner"


class ApprovalState(StrEnum):
    """`waiting → approved → used`; or `denied`, or `expired` when nobody decided in time."""

    WAITING = "waiting"
    APPROVED = "approved"
    USED = "used"
    DENIED = "denied"
    EXPIRED = "expired"


OPEN = frozenset({ApprovalState.WAITING, ApprovalState.APPROVED})


@dataclass(frozen=True, kw_only=True)
class Approval:
    """One request that a human decides on, bound to exactly this request, price and policy."""

    id: str
    kind: str
    """`create`, `extend` or `adopt`."""
    state: ApprovalState = ApprovalState.WAITING

    uid: int
    pid: int
    session: str
    project: str
    client: str
    parents: str

    request: str
    """The normalised request, as JSON: what is carried out when a human agrees, and nothing else."""
    fingerprint: str
    units: int
    """The worst case of the VM's whole life: what a yes covers."""
    rate: Decimal
    policy_version: str

    asked_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None
    decided_by: str = ""
    outcome: str = ""
    """What became of it: the create or the VM it was used for, or why not."""

    @property
    def ignored(self) -> bool:
        """The owner did not decide: nobody did in time, or a client said no, perhaps by itself."""
        silent = self.state is ApprovalState.EXPIRED and not self.decided_by
        return silent or (self.state is ApprovalState.DENIED and self.decided_by == BY_CLIENT)

    def at(self, now: datetime) -> ApprovalState:
        """Its state, whether or not anybody has written down that its time is over."""
        return ApprovalState.EXPIRED if self.state in OPEN and self.expires_at <= now else self.state


def may_ask(asking: Approval, open_: Sequence[Approval], closed: Sequence[Approval]) -> None:
    """Raise Denied when this uid or session asks too much: `open_` and `closed` (newest first) are its uid's."""
    own = sum(one.session == asking.session for one in open_)
    if own >= OPEN_PER_SESSION or len(open_) >= OPEN_PER_UID:
        raise Denied(
            f"{own} requests of this session ({len(open_)} of this user) wait for the owner already.",
            "Wait for them (aleph_wait_vm with their approval_id), or ask for less.",
            code="too_many_approvals",
        )
    recent = closed[:IGNORED_BEFORE_PAUSE]
    ignored = len(recent) == IGNORED_BEFORE_PAUSE and all(one.ignored for one in recent)
    since = max((one.decided_at for one in recent if one.decided_at), default=asking.asked_at)
    left = since + PAUSE - asking.asked_at
    if ignored and left > timedelta():
        raise Denied(
            f"The last {len(recent)} requests were not answered by the owner, who seems not to be there. Next in {span(left.total_seconds())}.",
            "Ask for less than the threshold, or wait and tell the user that the owner must run: aleph-agentctl approvals",
            code="approval_pause",
        )
