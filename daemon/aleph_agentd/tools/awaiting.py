"""How a tool says that a human decides, and how one waits for it."""

import asyncio
from typing import Any

from ..domain import money
from ..domain.approvals import PREFIX, Approval, ApprovalState
from ..domain.clock import iso
from ..domain.errors import Denied, NotFound, Unavailable
from ..domain.model import Vm
from ..services.asked import CREATE, request_of, words
from .base import Call
from .ownership import resolve

AWAITING = "awaiting_approval"
_PAUSE_S = 1.0


def awaiting(approval: Approval, name: str) -> dict[str, Any]:
    """The fields that say what to do while a human decides."""
    return {
        "approval_id": approval.id,
        "approval_message": f"Nothing has happened yet: {words(approval)} could cost {money.show(approval.units)}, so only a human may allow it, "
        f"until {iso(approval.expires_at)}. Tell the user to run, in a terminal of their own: aleph-agentctl approve {approval.id}",
        "next": f"Tell the user, then call aleph_wait_vm with item_hash={approval.id!r}: once the owner agrees, the daemon does it by itself. Asking again changes nothing for {name}.",
    }


def subject(approval: Approval) -> str:
    """The name of the VM that it is about."""
    return request_of(approval).name


async def what_is_awaited(call: Call, reference: str) -> Approval | Vm:
    """A request by its id, a VM, or the request for a VM of this name. Raises NotFound."""
    by_id = await call.services.inventory.approval(reference) if reference.startswith(PREFIX) else None
    if by_id is not None:
        _may_look(call, by_id)
        return by_id
    try:
        return await resolve(call, reference)
    except NotFound:
        by_name = await call.services.approvals.named(reference, call.caller.session)
        if by_name is None:
            raise
        return by_name


def _may_look(call: Call, approval: Approval) -> None:
    caller = call.caller
    same_project = bool(approval.project) and approval.project == caller.project
    if not (caller.peer.human or approval.session == caller.session or same_project):
        raise NotFound(
            f"This session has no request {approval.id}.", "Call aleph_list_my_vms.", code="not_found"
        )


class Following:
    """One call that waits until a request is decided and carried out."""

    def __init__(self, call: Call, approval: Approval, start: float, deadline: float) -> None:
        self.approval = approval
        self._call, self._start, self._deadline = call, start, deadline

    async def to_its_vm(self) -> Vm | None:
        """The VM that came of it; None when the patience is over first. Raises Refusal when there will be none."""
        loop = asyncio.get_running_loop()
        approvals = self._call.services.approvals
        while True:
            self.approval = await approvals.successor(self.approval)
            state = self.approval.at(self._call.services.clock.now())
            if state is ApprovalState.USED and (vm := await self._vm()) is not None:
                return vm
            self._check(state)
            if loop.time() >= self._deadline:
                return None
            message = "waits for the owner" if state is ApprovalState.WAITING else "is being carried out"
            total = self._deadline - self._start
            await self._call.report(
                round(loop.time() - self._start), round(total), f"{self.approval.id} {message}"
            )
            await asyncio.sleep(min(_PAUSE_S, max(0.0, self._deadline - loop.time())))

    def _check(self, state: ApprovalState) -> None:
        approval = self.approval
        if state is ApprovalState.DENIED:
            raise Denied(
                f"{words(approval)} was not approved: denied {approval.outcome}.",
                "Do not ask for the same again unless the user says so; a smaller VM or a shorter lease may need no approval.",
                code="approval_denied",
            )
        if state is ApprovalState.EXPIRED:
            raise Denied(
                f"{words(approval)} was not approved in time ({approval.outcome or 'nobody decided'}).",
                "Nothing was done. Ask the user whether it is still wanted, then call again.",
                code="approval_expired",
            )
        approvals = self._call.services.approvals
        if state is not ApprovalState.APPROVED or approvals.under_way(approval):
            return
        if not approval.outcome:  # its job was cut; another one does it, once
            approvals.carry_out(approval)
        else:
            raise Unavailable(
                f"{words(approval)} was approved, but could not be done: {approval.outcome}",
                "Put that right, then send the same request again: the approval still holds.",
                code="approved_not_done",
            )

    async def _vm(self) -> Vm | None:
        services, outcome = self._call.services, self.approval.outcome
        if self.approval.kind != CREATE:
            return await services.inventory.get(outcome)
        # Whoever waits for it asks for it: after a restart it is broadcast only then (rules.md 5).
        await services.provisioner.ask_again(outcome)
        attempts = await services.inventory.attempts_of(outcome)
        return attempts[-1] if attempts else None


async def newest_attempt(call: Call, vm: Vm) -> Vm:
    """The row as it is now; while its create goes on, the row of its newest attempt."""
    if call.services.provisioner.under_way(vm.create_id):
        attempts = await call.services.inventory.attempts_of(vm.create_id)
        return attempts[-1] if attempts else vm
    return await call.services.inventory.get(vm.item_hash) or vm
