"""aleph_create_vm: rent a VM with a lease."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from ..domain import money, policy
from ..domain.approvals import ApprovalState
from ..domain.clock import iso, span
from ..domain.compute_units import TIERS, check_tier
from ..domain.errors import BadInput, Denied, Unavailable, Unknown
from ..domain.guest_saves import check_paths, stored
from ..domain.model import LEASED, Vm, VmState
from ..domain.names import check_name, check_ssh_pubkey, one_line
from ..domain.setup_templates import LONGEST
from ..services.provisioner import PATIENCE_S
from ..services.quotes import CreateRequest, Plan
from .awaiting import AWAITING, awaiting
from .base import Answer, Arguments, Call, Tool
from .views import footer

_PROGRESS_S = 1.0
_STEPS = {VmState.INTENDED: 1, VmState.PROVISIONING: 2, VmState.RUNNING: 3}


class CreateArguments(Arguments):
    """What to rent."""

    name: Annotated[str, AfterValidator(check_name)] = Field(
        max_length=64, description="Letters, digits, . _ -"
    )
    crn_hash: str = Field("", max_length=300, description="CRN: hash, name or URL; default: chosen")
    compute_units: Annotated[int, AfterValidator(check_tier)] = Field(
        1,
        description="1 vCPU, 2 GiB RAM, 20 GiB disk each",
        json_schema_extra={"enum": list(TIERS)},
    )
    gpu: str = Field("", max_length=40, description="any, or a model; sets the size")
    ttl_hours: float | None = Field(None, gt=0, le=8760, description="Lease; then it is destroyed")
    os_image: str | None = Field(None, max_length=64, description="ubuntu22, ubuntu24 or debian12")
    dry_run: bool = Field(False, description="Only quote")
    purpose: Annotated[str, AfterValidator(one_line)] = Field("", max_length=200)
    confirmed: bool = Field(False, description="Yes to the price just quoted")
    max_hourly_cost: float | None = Field(None, gt=0, le=1e6, description="Credits")
    ssh_pubkey: Annotated[str, AfterValidator(check_ssh_pubkey)] = Field(
        "", max_length=2000, description="Default: the owner's"
    )
    quote_id: str = Field("", max_length=40)
    accept_terms: str = Field("", max_length=100, description="Hash of terms that the user accepts")
    setup: str = Field("", max_length=LONGEST, description="Root script, run once; or @template")
    idle_minutes: int | None = Field(None, ge=5, le=10_080, description="Destroy when idle so long")
    save_on_expiry: Annotated[tuple[str, ...], AfterValidator(check_paths)] = Field(
        (), description="Paths kept by the owner"
    )

    @field_validator("setup")
    @classmethod
    def _is_text(cls, script: str) -> str:
        if "\0" in script:
            raise ValueError("a script has no NUL bytes")
        return script if script.strip() else ""


class Created(Answer):
    """A VM, or a quote for one."""

    item_hash: str | None = None
    name: str
    status: str
    ssh_command: str = ""
    ipv4_host: str = ""
    ssh_port: int | None = None
    ipv6: str = ""
    crn_name: str = ""
    crn_url: str = ""
    placement: str = ""
    terms_accepted: str = ""
    hourly_cost: float
    hourly_cost_usd: float
    total_cost_estimate: float
    total_cost_estimate_usd: float
    ttl_expires_at: str | None = None
    requires_confirmation: bool = False
    confirmation_message: str = ""
    quote_id: str | None = None
    approval_id: str | None = None
    approval_message: str = ""
    dry_run: bool = False
    next: str = ""
    warnings: list[str] = Field(default_factory=list)


async def run(call: Call, arguments: CreateArguments) -> Created:
    """Quote, ask for confirmation or for a human, or create; a request seen before answers with its first VM."""
    provisioner = call.services.provisioner
    if call.request_key and (seen := await call.services.inventory.remembered(call.request_key)):
        await provisioner.ask_again(seen.create_id)
        return await _born(call, await _wait(call, seen.create_id), [])
    request = _request(call, arguments)
    if not arguments.dry_run and (same := await provisioner.same_vm(request, call.caller)):
        if same.state is not VmState.RUNNING:  # it may run since, also when its create is over
            same = await _wait(call, same.create_id)
        return await _born(call, same, [f"You already have {same.name}: this is that VM, not a new one."])
    plan = await call.services.planner.plan(
        request, call.caller, confirmed=arguments.confirmed, quote_id=arguments.quote_id
    )
    if arguments.dry_run:
        return await _quoted(call, plan, dry_run=True)
    _may_spend(call)
    try:
        return await _create(call, plan)
    except Denied as denied:
        if denied.code != policy.HUMAN_APPROVAL:
            raise
        return await _let_a_human_decide(call, plan)


async def _create(call: Call, plan: Plan) -> Created:
    case = await call.services.planner.case(plan, call.caller, confirmed=plan.quote is not None)
    caller, treasury = call.caller, call.services.treasury
    limits = treasury.limits_of(caller)
    exposure = await treasury.exposure(caller)
    policy.evaluate(case, limits, exposure)
    unspent = plan.quote is None or treasury.use_quote(plan.quote)
    if policy.needs_confirmation(case, limits) or not unspent:
        return await _quoted(call, plan, dry_run=False)
    order = await call.services.provisioner.create(plan, caller, call.request_key, call.request_hash)
    return await _born(call, await _wait(call, order.create_id), order.tried, order.plan.why)


async def _let_a_human_decide(call: Call, plan: Plan) -> Created:
    """Create nothing, and say who decides; or create what was approved and could not be done at once."""
    case = await call.services.planner.case(plan, call.caller, confirmed=True)
    approvals = call.services.approvals
    approval = await approvals.ask(plan.request, call.caller, case, plan.rate)
    if approval.state is ApprovalState.APPROVED:
        create_id = await approvals.carry_out(approval)
        return await _born(call, await _wait(call, create_id), [])
    return Created(
        **await footer(call),
        name=plan.request.name,
        status=AWAITING,
        crn_name=plan.crn.name,
        crn_url=plan.crn.url,
        placement=plan.why,
        terms_accepted=plan.crn.terms_and_conditions,
        **_prices(plan.hourly_units, plan.estimate_units),
        **awaiting(approval, plan.request.name),
    )


def _request(call: Call, arguments: CreateArguments) -> CreateRequest:
    services = call.services
    limits = services.treasury.limits_of(call.caller)
    pubkey = arguments.ssh_pubkey or services.ssh_pubkey
    if not pubkey and not arguments.dry_run:
        raise Unavailable(
            f"There is no SSH key to let you in: {services.ssh_pubkey_trouble}.",
            "Give ssh_pubkey (`ssh-keygen -t ed25519` makes one), or ask the owner to set ALEPH_AGENT_SSH_PUBKEY_PATH.",
            code="no_ssh_key",
        )
    ttl = arguments.ttl_hours
    most = arguments.max_hourly_cost
    return CreateRequest(
        name=arguments.name,
        crn=arguments.crn_hash,
        compute_units=arguments.compute_units,
        ttl_hours=min(limits.default_ttl_hours, limits.max_ttl_hours) if ttl is None else ttl,
        os_image=arguments.os_image or services.default_os_image,
        ssh_pubkey=pubkey,
        purpose=arguments.purpose,
        gpu=arguments.gpu.strip(),
        accept_terms=arguments.accept_terms.strip(),
        setup=services.templates.script(arguments.setup),
        idle_minutes=arguments.idle_minutes or 0,
        save_paths=_save_paths(call, arguments),
        max_hourly_units=None if most is None else money.parse_amount(f"{most:.6f} cr"),
    )


def _save_paths(call: Call, arguments: CreateArguments) -> str:
    if arguments.save_on_expiry and not call.services.saver.settings.most_bytes:
        raise BadInput(
            "The owner lets nothing be saved from VMs.",
            "Leave save_on_expiry out, and copy results yourself.",
        )
    return stored(arguments.save_on_expiry)


def _may_spend(call: Call) -> None:
    if call.caller.spending_refused:
        raise Denied(
            call.caller.spending_refused,
            "Remove that setting from the MCP server's environment.",
            code="other_settings",
        )


async def _wait(call: Call, create_id: str) -> Vm:
    """Wait for the create, telling a client that listens how far it is."""
    left = PATIENCE_S
    while True:
        vm = await call.services.provisioner.wait(create_id, min(_PROGRESS_S, left))
        left -= _PROGRESS_S
        if left <= 0 or not call.services.provisioner.under_way(create_id):
            return _alive(await call.services.provisioner.wait(create_id, 0))
        await call.report(_STEPS.get(vm.state, 0), 3, f"{vm.name}: {vm.cause}")


def _alive(vm: Vm) -> Vm:
    """A VM that is there; not the one of an attempt that failed while the next one has not begun."""
    if vm.state in LEASED or vm.running_at is not None:
        return vm
    raise Unknown(
        f"{vm.name} is not there yet: {vm.cause}; another CRN may still be tried.",
        "Look at aleph_list_my_vms in a minute before you create it again.",
    )


async def _quoted(call: Call, plan: Plan, *, dry_run: bool) -> Created:
    """A price, and how to say yes to it."""
    quote = call.services.planner.remember(plan, call.caller)
    warnings = await call.services.planner.objections(plan, call.caller)
    limits = call.services.treasury.limits_of(call.caller)
    asks = plan.estimate_units > limits.cost_threshold_units
    gpu = f" with {plan.gpu.model}" if plan.gpu else ""
    price = f"{plan.request.name}: {plan.size.compute_units} CU{gpu} for {plan.request.ttl_hours:g} h on {plan.crn.name} costs {money.show(plan.estimate_units)}"
    return Created(
        **await footer(call),
        name=plan.request.name,
        status="quoted",
        crn_name=plan.crn.name,
        crn_url=plan.crn.url,
        placement=plan.why,
        terms_accepted=plan.crn.terms_and_conditions,
        **_prices(plan.hourly_units, plan.estimate_units),
        requires_confirmation=asks,
        confirmation_message=f"{price}, above the threshold of {money.show(limits.cost_threshold_units)}. If the user agrees, call again with the same arguments and confirmed=true within 10 minutes."
        if asks
        else "",
        quote_id=quote.id,
        dry_run=dry_run,
        next="Nothing was created. Call again without dry_run to create it." if dry_run else "",
        warnings=warnings,
    )


async def _born(call: Call, vm: Vm, tried: list[str], why: str = "") -> Created:
    """The VM as it is now."""
    now = call.services.clock.now()
    lease_s = money.exact_s(vm.expires_at - vm.created_at)
    return Created(
        **await footer(call, vm),
        item_hash=vm.item_hash,
        name=vm.name,
        status=str(vm.state),
        ssh_command=vm.ssh_command(),
        ipv4_host=vm.host_ipv4,
        ssh_port=vm.ssh_port or None,
        ipv6=vm.ipv6,
        crn_name=vm.crn_name,
        crn_url=vm.crn_url,
        placement=why,
        **_prices(vm.hourly_units, money.cost_units(vm.rate, lease_s)),
        ttl_expires_at=iso(vm.expires_at),
        next=_next(call, vm, (vm.expires_at - now).total_seconds()),
        warnings=tried,
    )


def _next(call: Call, vm: Vm, seconds: float) -> str:
    if vm.state not in LEASED and call.services.provisioner.under_way(vm.create_id):
        return f"This VM did not work out ({vm.cause}), and another one is tried: see aleph_list_my_vms in a minute. Do not create it again."
    if vm.state not in LEASED:
        return f"This VM has ended ({vm.cause}). For another, call aleph_create_vm as a new request."
    soon = "" if vm.state is VmState.RUNNING else "; it is still being set up"
    return f"Call aleph_wait_vm until SSH answers{soon}. It is destroyed in {span(seconds)}; destroy it earlier with aleph_destroy_vm."


def _prices(hourly: int, total: int) -> dict[str, Any]:
    return {
        "hourly_cost": money.in_credits(hourly),
        "hourly_cost_usd": money.in_usd(hourly),
        "total_cost_estimate": money.in_credits(total),
        "total_cost_estimate_usd": money.in_usd(total),
    }


TOOL = Tool(
    name="aleph_create_vm",
    title="Create VM",
    description="Rent a Linux VM with root SSH until its lease ends. Costs money: requires_confirmation needs the user's yes.",
    arguments=CreateArguments,
    answer=Created,
    run=run,
    idempotent=True,
    always_load=True,
)
