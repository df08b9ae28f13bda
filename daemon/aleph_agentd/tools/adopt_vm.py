"""aleph_adopt_vm: an orphan gets a lease and an owner, when a human agrees."""

from typing import Any

from pydantic import Field

from ..domain import money
from ..domain.approvals import Approval, ApprovalState
from ..domain.clock import iso
from ..domain.errors import Denied
from ..domain.model import LEASED, Vm
from ..services.adoption import taken
from ..services.asked import ADOPT, AdoptRequest
from .awaiting import AWAITING, awaiting
from .base import Answer, Arguments, Call, Tool
from .views import footer

_SEEN = 200


class AdoptArguments(Arguments):
    """Which, and for how long."""

    item_hash: str = Field(min_length=8, max_length=64, description="Of an orphan in aleph_list_my_vms")
    ttl_hours: float = Field(gt=0, le=8760, description="Its lease, from the owner's yes on")


class Adopted(Answer):
    """`awaiting_approval`: nothing has happened; `adopted`: it is this session's VM."""

    item_hash: str
    name: str
    status: str
    hourly_cost: float
    hourly_cost_usd: float
    total_cost_estimate: float
    total_cost_estimate_usd: float
    ttl_expires_at: str | None = None
    approval_id: str | None = None
    approval_message: str = ""
    next: str = ""


async def run(call: Call, arguments: AdoptArguments) -> Adopted:
    """Ask the owner, once every other rule agrees; or say what came of it."""
    adoption, hours = call.services.adoption, arguments.ttl_hours
    reference = arguments.item_hash.strip().lower()
    if call.caller.spending_refused:
        raise Denied(
            call.caller.spending_refused,
            "Remove that setting from the MCP server's environment.",
            code="other_settings",
        )
    if (vm := await adoption.row(reference)) is not None:
        return await _what_came_of_it(call, vm, hours)
    offer = await adoption.look(reference, hours, call.caller)
    await adoption.check(offer, call.caller)
    request = AdoptRequest(offer.vm.item_hash, offer.vm.name, hours)
    approval = await call.services.approvals.ask(request, call.caller, offer.case, offer.vm.rate)
    if approval.state is ApprovalState.APPROVED:
        await call.services.approvals.carry_out(approval)
        return await _what_came_of_it(call, await adoption.row(offer.vm.item_hash) or offer.vm, hours)
    return Adopted(
        **await footer(call),
        **_costs(offer.vm, hours),
        status=AWAITING,
        **awaiting(approval, offer.vm.name),
    )


async def _what_came_of_it(call: Call, vm: Vm, hours: float) -> Adopted:
    """What a yes has made this session's is no mistake to ask for again; anything else with a row is no orphan."""
    approvals = await call.services.inventory.approvals(open_only=False, limit=_SEEN)
    if vm.state not in LEASED or not any(_made_it(one, vm, call.caller.session) for one in approvals):
        raise taken(vm)
    return Adopted(
        **await footer(call, vm),
        **_costs(vm, hours),
        status="adopted",
        ttl_expires_at=iso(vm.expires_at),
        next=f"It is this session's, as {vm.name}: aleph_extend_vm and aleph_destroy_vm work on it.",
    )


def _made_it(approval: Approval, vm: Vm, session: str) -> bool:
    used = approval.state is ApprovalState.USED and approval.outcome == vm.item_hash
    return used and approval.kind == ADOPT and approval.session == session


def _costs(vm: Vm, hours: float) -> dict[str, Any]:
    lease = money.cost_units(vm.rate, money.whole_s(hours))
    return {
        "item_hash": vm.item_hash,
        "name": vm.name,
        "hourly_cost": money.in_credits(vm.hourly_units),
        "hourly_cost_usd": money.in_usd(vm.hourly_units),
        "total_cost_estimate": money.in_credits(lease),
        "total_cost_estimate_usd": money.in_usd(lease),
    }


TOOL = Tool(
    name="aleph_adopt_vm",
    title="Adopt orphan VM",
    description="Ask the owner to let an orphan stay, as this session's VM, with a lease and its cost. Only a human approves.",
    arguments=AdoptArguments,
    answer=Adopted,
    run=run,
)
