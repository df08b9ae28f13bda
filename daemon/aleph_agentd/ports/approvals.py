"""What waits for a human, durably: asked once, decided once, spent once."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from ..domain.approvals import Approval, ApprovalState

MayAsk = Callable[[Sequence[Approval], Sequence[Approval]], None]
"""Raises a Refusal, given the open requests of the asking uid and its newest closed ones; must not wait."""


class ApprovalBook(Protocol):
    """Part of `Inventory`; each method is one transaction."""

    async def ask(self, asking: Approval, may: MayAsk) -> Approval:
        """The open request of this session that is the same in everything, or this one, if it `may` be asked."""
        ...

    async def approval(self, approval_id: str) -> Approval | None:
        """One request."""
        ...

    async def approvals(self, *, open_only: bool, limit: int) -> list[Approval]:
        """The newest first."""
        ...

    async def decide(
        self,
        approval_id: str,
        states: frozenset[ApprovalState],
        to: ApprovalState,
        by: str,
        outcome: str,
        now: datetime,
    ) -> Approval | None:
        """Move a request that is in one of `states` and whose time is not over; None when it is not."""
        ...

    async def note_outcome(self, approval_id: str, outcome: str) -> None:
        """Why an approved request could not be carried out yet."""
        ...

    async def expire(self, now: datetime) -> list[Approval]:
        """Close every open request whose time is over; those that were closed."""
        ...

    async def void_approvals(self, reason: str, now: datetime) -> int:
        """Close every open request, for a reason that is not about any of them; how many."""
        ...

    async def denials(self, by: str, since: datetime) -> int:
        """How many requests were denied by somebody since then."""
        ...
