"""What only a human may decide: asked once, shown, decided over control.sock, carried out once (rules.md 13, 16)."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any

from ..domain import money, policy
from ..domain.acting import act_of, on_behalf_of
from ..domain.approvals import (
    BY_CLIENT,
    BY_OWNER,
    DENIALS_BEFORE_FREEZE,
    DENIALS_WITHIN,
    OPEN,
    PREFIX,
    VALID,
    Approval,
    ApprovalState,
    may_ask,
)
from ..domain.caller import Caller
from ..domain.clock import iso
from ..domain.errors import Conflict, Denied, NotFound, Refusal
from ..ports import Inventory
from .approved import Dearer, Executor
from .asked import CREATE, Request, caller_of, encoded, fingerprint, kind_of, request_of, words
from .jobs import Jobs
from .treasury import Treasury

log = logging.getLogger(__name__)

INTERVAL_S = 15.0
ADMISSION_S = 30.0
"""How long whoever approves waits to hear whether it could be carried out."""
_SHOWN = 200
_ONLY_WAITING = frozenset({ApprovalState.WAITING})


class Approvals:
    """The requests that wait for a human."""

    def __init__(self, inventory: Inventory, treasury: Treasury, jobs: Jobs, executor: Executor) -> None:
        self._inventory, self._treasury, self._jobs, self._executor = inventory, treasury, jobs, executor
        self._clock = treasury.clock
        self._open: list[Approval] = []
        self.freeze: Callable[[str], Awaitable[object]] | None = None
        """Called with the reason when the owner denied so often that something must be wrong."""

    # ------------------------------------------------------------------ asked by tools

    async def ask(self, request: Request, caller: Caller, case: policy.Case, rate: Decimal) -> Approval:
        """The open approval of this very request, or a new one. Raises Denied when too much is asked."""
        now, text, kind = self._clock.now(), encoded(request, caller), kind_of(request)
        asking = Approval(
            id=PREFIX + secrets.token_hex(5),
            kind=kind,
            uid=caller.peer.uid,
            pid=caller.peer.pid,
            session=caller.session,
            project=caller.project,
            client=caller.client,
            parents=caller.parents,
            request=text,
            fingerprint=fingerprint(kind, text),
            units=policy.worst_case(case),
            rate=rate,
            policy_version=self._treasury.limits.version,
            asked_at=now,
            expires_at=now + VALID,
        )
        asked = await self._inventory.ask(asking, partial(may_ask, asking))
        await self._refresh()
        return asked

    async def named(self, name: str, session: str) -> Approval | None:
        """The newest request of a session for a VM of this name."""
        for one in await self._inventory.approvals(open_only=False, limit=_SHOWN):
            if one.session == session and one.kind == CREATE and request_of(one).name == name:
                return one
        return None

    async def successor(self, approval: Approval) -> Approval:
        """The open request that took the place of one that became dearer, or the one itself as it is now."""
        for one in await self._inventory.approvals(open_only=True, limit=_SHOWN):
            if (one.session, one.fingerprint) == (approval.session, approval.fingerprint):
                return one
        return await self._inventory.approval(approval.id) or approval

    def carry_out(self, approval: Approval) -> "asyncio.Task[str]":
        """The job that does what was approved; its result is what it was used for."""
        return self._jobs.start(f"approval:{approval.id}", lambda: self._carry_out(approval))

    def under_way(self, approval: Approval) -> bool:
        """Whether that job runs."""
        return self._jobs.running(f"approval:{approval.id}") is not None

    # ------------------------------------------------------------------ decided by a human

    async def approve(self, approval_id: str, by: str) -> Approval:
        """Say yes to a waiting request, and wait a little for what comes of it. Raises Refusal."""
        waiting = await self._waiting(approval_id)
        try:
            self._executor.check_policy(waiting)
        except Refusal as changed:
            await self._decide(waiting, ApprovalState.DENIED, "the daemon", changed.message)
            raise
        approved = await self._decide(waiting, ApprovalState.APPROVED, by, "")
        job = self.carry_out(approved)
        await asyncio.wait({job}, timeout=ADMISSION_S)
        return await self._inventory.approval(approval_id) or approved

    async def deny(self, approval_id: str, by: str) -> Approval:
        """Say no. Many of the owner's in a short time are a sign of trouble."""
        denied = await self._decide(await self._waiting(approval_id), ApprovalState.DENIED, by, f"by {by}")
        since = self._clock.now() - DENIALS_WITHIN
        often = await self._inventory.denials(BY_OWNER, since) >= DENIALS_BEFORE_FREEZE
        if self.freeze is not None and by == BY_OWNER and often:
            await self.freeze(f"{DENIALS_BEFORE_FREEZE} approvals were denied within 10 minutes")
        return denied

    # ------------------------------------------------------------------ decided by an MCP client

    async def question(self, approval_id: str, caller: Caller) -> str | None:
        """What to ask the client of the asking session, where the owner's policy lets its answer count."""
        for one in self._open:
            if one.id == approval_id and self._client_may(one, caller):
                return f"May the agent {words(one)}? It costs at most {money.show(one.units)}."
        return None

    async def client_says(self, approval_id: str, caller: Caller, yes: bool) -> None:
        """Decide as the client of the asking session answered; marked as its answer."""
        waiting = await self._waiting(approval_id)
        if not self._client_may(waiting, caller):
            raise Denied(
                "The answers of MCP clients do not count.",
                f"aleph-agentctl approve {approval_id}",
                code="not_owner",
            )
        await (self.approve if yes else self.deny)(approval_id, BY_CLIENT)

    def _client_may(self, approval: Approval, caller: Caller) -> bool:
        waits = approval.at(self._clock.now()) is ApprovalState.WAITING
        return self._treasury.limits.approval_by_client and waits and approval.session == caller.session

    # ------------------------------------------------------------------ the daemon's own

    async def void_all(self, reason: str) -> int:
        """Nothing that was asked before holds any more (an inventory was lost); how many that were."""
        count = await self._inventory.void_approvals(reason, self._clock.now())
        await self._refresh()
        return count

    async def load(self) -> None:
        """After a start: know what waits."""
        await self.expire()
        await self._refresh()

    async def recover(self) -> None:
        """After a start: what was approved and not carried out yet is. A spent one is never carried out again."""
        for one in self._open:
            if one.state is ApprovalState.APPROVED:
                self.carry_out(one)

    async def expire(self) -> None:
        """Close what nobody decided in time."""
        now = self._clock.now()
        if any(one.expires_at <= now for one in self._open):
            await self._inventory.expire(now)
            await self._refresh()

    def alerts(self, session: str | None = None) -> list[str]:
        """What waits for a human, of one session or of all."""
        now = self._clock.now()
        return [
            f"Waits for the owner until {iso(one.expires_at)}: {words(one)}, up to {money.show(one.units)}. "
            f"aleph-agentctl approve {one.id}"
            for one in self._open
            if one.at(now) is ApprovalState.WAITING and session in (None, one.session)
        ]

    def figures(self) -> dict[str, Any]:
        """For `status`."""
        return {"waiting": len(self.alerts())}

    # ------------------------------------------------------------------ helpers

    async def _waiting(self, approval_id: str) -> Approval:
        approval = await self._inventory.approval(approval_id)
        if approval is None:
            raise NotFound(f"There is no request {approval_id[:40]!r}.", "See: aleph-agentctl approvals")
        state = approval.at(self._clock.now())
        if state is not ApprovalState.WAITING:
            raise _decided_already(approval, state)
        return approval

    async def _decide(self, waiting: Approval, to: ApprovalState, by: str, outcome: str) -> Approval:
        now = self._clock.now()
        decided = await self._inventory.decide(waiting.id, _ONLY_WAITING, to, by, outcome, now)
        await self._refresh()
        if decided is None:
            raise _decided_already(waiting, waiting.at(now))
        log.info("%s is %s by %s", decided.id, decided.state, by)
        return decided

    async def _carry_out(self, approval: Approval) -> str:
        try:
            try:
                # Whoever decided, or waits, or starts the daemon: it is the asking session's doing.
                with on_behalf_of(act_of(caller_of(approval))):
                    return await self._executor.run(approval)
            except Dearer as dearer:
                raise await self._asked_anew(approval, dearer.case) from dearer
        except Refusal as refusal:
            await self._inventory.note_outcome(approval.id, f"{refusal.message} ({refusal.code})")
            raise
        finally:
            await self._refresh()

    async def _asked_anew(self, approval: Approval, case: policy.Case) -> Conflict:
        again = await self.ask(request_of(approval), caller_of(approval), case, approval.rate)
        return Conflict(
            f"It costs more by now than was approved: {money.show(again.units)} instead of {money.show(approval.units)}.",
            f"Nothing has happened. The owner is asked anew: aleph-agentctl approve {again.id}",
            code="dearer",
        )

    async def _refresh(self) -> None:
        self._open = await self._inventory.approvals(open_only=True, limit=_SHOWN)


def _decided_already(approval: Approval, state: ApprovalState) -> Conflict:
    was = "being decided" if state in OPEN else str(state)
    why = f": {approval.outcome}" if approval.outcome else ""
    return Conflict(
        f"{approval.id} does not wait for a decision; it is {was}{why}.",
        "See: aleph-agentctl approvals --all",
        code="not_waiting",
    )
