"""aleph_extend_vm: more time for a running VM."""

from pydantic import Field

from ..domain import money, policy
from ..domain.acting import decided
from ..domain.approvals import ApprovalState
from ..domain.clock import iso
from ..domain.errors import Denied
from ..domain.model import Vm
from ..ports import Remembered
from ..services.asked import EXTEND, ExtendRequest
from .awaiting import AWAITING, awaiting
from .base import Answer, Arguments, Call, Tool
from .ownership import may_act, resolve
from .views import footer

UNPUBLISHED = (
    "The new end holds, but could not be read back from the network yet; publishing it goes on. "
    "Until then it is lost if the daemon's inventory is."
)


class ExtendArguments(Arguments):
    """Which, and by how much."""

    item_hash: str = Field(min_length=1, max_length=128, description="Hash, or name of a VM of this session")
    additional_hours: float = Field(gt=0, le=8760)


class Extended(Answer):
    """The new end."""

    item_hash: str
    name: str
    new_ttl_expires_at: str | None
    additional_cost_estimate: float
    additional_cost_estimate_usd: float
    status: str = "extended"
    approval_id: str | None = None
    approval_message: str = ""
    next: str = ""
    warnings: list[str] = Field(default_factory=list)


async def run(call: Call, arguments: ExtendArguments) -> Extended:
    """Runs the whole policy for the additional time. A request seen before extends only once."""
    vm = await resolve(call, arguments.item_hash.strip())
    may_act(call, vm)
    if call.caller.spending_refused:
        raise Denied(
            call.caller.spending_refused,
            "Remove that setting from the MCP server's environment.",
            code="other_settings",
        )
    hours = arguments.additional_hours
    if await _was_just_done(call, vm):
        return await _answer(call, vm, hours)
    request = None
    if call.request_key:
        if await call.services.inventory.remembered(call.request_key):
            return await _answer(call, vm, hours)
        request = (call.request_key, Remembered("aleph_extend_vm", call.request_hash))
    try:
        return await _answer(
            call, await call.services.extender.extend(vm, hours, call.caller, request), hours
        )
    except Denied as denied:
        if denied.code != policy.HUMAN_APPROVAL:
            raise
        return await _let_a_human_decide(call, vm, hours)


async def _was_just_done(call: Call, vm: Vm) -> bool:
    """Whether this very call asked its client, which agreed, and is run again to be answered."""
    approval = await call.services.inventory.approval(decided()) if decided() else None
    if approval is None or approval.state is not ApprovalState.USED:
        return False
    return (approval.kind, approval.session, approval.outcome) == (EXTEND, call.caller.session, vm.item_hash)


async def _let_a_human_decide(call: Call, vm: Vm, hours: float) -> Extended:
    """Extend nothing, and say who decides; or do what was approved and could not be done at once."""
    approvals, request = (
        call.services.approvals,
        ExtendRequest(vm.item_hash, vm.name, hours, vm.lease_version),
    )
    case = await call.services.extender.case(vm, hours)
    approval = await approvals.ask(request, call.caller, case, vm.rate)
    if approval.state is ApprovalState.APPROVED:
        await approvals.carry_out(approval)
        return await _answer(call, await call.services.inventory.get(vm.item_hash) or vm, hours)
    return Extended(
        **await footer(call, vm),
        item_hash=vm.item_hash,
        name=vm.name,
        new_ttl_expires_at=None,
        additional_cost_estimate=money.in_credits(case.estimate_units),
        additional_cost_estimate_usd=money.in_usd(case.estimate_units),
        status=AWAITING,
        **awaiting(approval, vm.name),
    )


async def _answer(call: Call, vm: Vm, hours: float) -> Extended:
    cost = money.cost_units(vm.rate, money.whole_s(hours))
    return Extended(
        **await footer(call, vm),
        item_hash=vm.item_hash,
        name=vm.name,
        new_ttl_expires_at=iso(vm.expires_at),
        additional_cost_estimate=money.in_credits(cost),
        additional_cost_estimate_usd=money.in_usd(cost),
        warnings=[] if await call.services.publisher.published(vm) else [UNPUBLISHED],
    )


TOOL = Tool(
    name="aleph_extend_vm",
    title="Extend VM",
    description="Move the end of a VM's lease later. Costs money and counts against the owner's limits.",
    arguments=ExtendArguments,
    answer=Extended,
    run=run,
)
