"""What the owner decides over control.sock: requests above the threshold; and the passphrase that this takes."""

from collections.abc import Mapping
from typing import Any

from ..domain import money
from ..domain.approvals import BY_OWNER, Approval
from ..domain.clock import iso, span
from ..domain.errors import BadInput
from ..services.asked import words
from ..services.core import Services
from .owner_guard import PASSPHRASE, OwnerGuard
from .rpc.connection import Connection, Handler

_SHOWN = 100
_ID_LENGTH = 64


class ApprovalVerbs:
    """The handlers of control.sock for what waits for a human."""

    def __init__(self, services: Services, guard: OwnerGuard) -> None:
        self._services, self._guard = services, guard

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the other methods of control.sock."""
        return {
            "approvals.list": self.list,
            "approvals.approve": self.approve,
            "approvals.deny": self.deny,
            "passphrase.state": self.state,
            "passphrase.set": self.set,
        }

    async def list(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """What waits, newest first; with `all`, what was decided as well. And what is left today."""
        services = self._services
        rows = await services.inventory.approvals(open_only=params.get("all") is not True, limit=_SHOWN)
        treasury = services.treasury
        left = treasury.budget_left(treasury.limits, (await treasury.overview("human")).exposure)
        return {
            "approvals": [self._view(row) for row in rows],
            "budget_left": None if left is None else money.in_credits(left),
            "budget_left_usd": None if left is None else money.in_usd(left),
            "passphrase_set": await self._guard.passphrase.is_set(),
        }

    async def approve(self, connection: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Yes, and carry it out."""
        approval_id = _id(params)
        await self._guard.check(connection, params)
        return {"approval": self._view(await self._services.approvals.approve(approval_id, BY_OWNER))}

    async def deny(self, connection: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """No: takes no passphrase, for it gives nobody anything; but no agent decides about another's request."""
        self._guard.refuse_kin(connection)
        return {"approval": self._view(await self._services.approvals.deny(_id(params), BY_OWNER))}

    async def state(self, _: Connection, __: Mapping[str, Any]) -> dict[str, Any]:
        """Whether there is a passphrase."""
        return {"set": await self._guard.passphrase.is_set()}

    async def set(self, connection: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """The first one, or a new one for the old one; not from an agent's shell."""
        self._guard.refuse_kin(connection)
        await self._guard.passphrase.set(params.get(PASSPHRASE), params.get("old_passphrase"))
        # So that an owner who did not do it learns of it.
        text, now = f"by process {connection.peer.pid}", self._services.clock.now()
        await self._services.inventory.record("passphrase_set", "", text, now)
        return {"set": True}

    def _view(self, approval: Approval) -> dict[str, Any]:
        now = self._services.clock.now()
        return {
            "id": approval.id,
            "kind": approval.kind,
            "state": str(approval.at(now)),
            "what": words(approval),
            "at_most_credits": money.in_credits(approval.units),
            "at_most_usd": money.in_usd(approval.units),
            "client": approval.client,
            "pid": approval.pid,
            "uid": approval.uid,
            "parents": approval.parents,
            "project": approval.project,
            "session": approval.session,
            "asked_at": iso(approval.asked_at),
            "expires_at": iso(approval.expires_at),
            "expires_in": span((approval.expires_at - now).total_seconds()),
            "decided_at": iso(approval.decided_at),
            "decided_by": approval.decided_by,
            "outcome": approval.outcome,
        }


def _id(params: Mapping[str, Any]) -> str:
    value = params.get("id")
    if not isinstance(value, str) or not 0 < len(value) <= _ID_LENGTH:
        raise BadInput("id is the id of a request, such as ap-12ab34cd56.", "See: aleph-agentctl approvals")
    return value
