"""The rules that stand between a request and money. Pure; in a fixed order; the first denial counts.

A rule looks at a `Case` and raises `Denied` with a code, one sentence of why, and the next step.
Adding a rule is adding a function to `RULES`.
"""

from collections.abc import Callable
from dataclasses import replace

from . import money
from .case import Case, reserve_units
from .errors import Conflict, Denied, Refusal
from .limits import Limits
from .model import Exposure
from .projects import PROJECT_RULES, grown

__all__ = ["Case", "RULES", "affordable", "after", "evaluate", "needs_confirmation", "reserve_units"]

NETWORK_MIN_RUNTIME_S = 86_400
"""A CCN admits an INSTANCE only if the payer could run everything for a day."""
HUMAN_APPROVAL = "human_approval"
"""The code of the one denial that a human can lift; its rule is the last, so every other one has agreed."""


def _ttl(case: Case, limits: Limits, _: Exposure) -> None:
    if case.lifetime_s > limits.max_ttl_s:
        raise Denied(
            f"The lease would last {case.lifetime_s / 3600:g} hours in all; the owner's limit is {limits.max_ttl_hours:g}.",
            f"Ask for at most {limits.max_ttl_hours:g} hours in all, extensions included.",
            code="max_ttl",
        )


def _extensions(case: Case, limits: Limits, _: Exposure) -> None:
    limit = limits.max_extensions
    if case.what == "extend" and limit is not None and case.extensions >= limit:
        raise Denied(
            f"This lease was extended {case.extensions} times; the owner allows {limit}.",
            "Copy the results out, let it end, and create a new VM if it is still needed.",
            code="max_extensions",
        )


def _image(case: Case, limits: Limits, _: Exposure) -> None:
    if (
        limits.allowed_os_images is not None
        and case.os_image
        and case.os_image not in limits.allowed_os_images
    ):
        raise Denied(
            f"The owner does not allow the image {case.os_image}.",
            f"Use one of: {', '.join(sorted(limits.allowed_os_images))}.",
            code="allowed_os_images",
        )


def _crn(case: Case, limits: Limits, _: Exposure) -> None:
    if limits.allowed_crns is not None and case.crn_hash and case.crn_hash not in limits.allowed_crns:
        raise Denied(
            "The owner does not allow this CRN.",
            "Leave crn_hash out: an allowed one is chosen.",
            code="allowed_crns",
        )


def _size(case: Case, limits: Limits, _: Exposure) -> None:
    if limits.max_compute_units is not None and case.compute_units > limits.max_compute_units:
        raise Denied(
            f"{case.compute_units} compute units are more than the owner allows per VM ({limits.max_compute_units}).",
            f"Ask for at most {limits.max_compute_units}.",
            code="max_compute_units",
        )


def _price(case: Case, _: Limits, __: Exposure) -> None:
    if case.max_hourly_units is not None and case.hourly_units > case.max_hourly_units:
        raise Denied(
            f"The VM costs {money.show(case.hourly_units)} per hour, more than your max_hourly_cost of {money.show(case.max_hourly_units)}.",
            "Raise max_hourly_cost or ask for fewer compute units.",
            code="max_hourly_cost",
        )


def _balance_guard(case: Case, limits: Limits, exposure: Exposure) -> None:
    free = case.balance_units - exposure.unbilled_units
    allowed = free * limits.balance_guard_percent // 100
    if case.estimate_units > allowed:
        raise Denied(
            f"This would cost {money.show(case.estimate_units)}, more than {limits.balance_guard_percent} % of the {money.show(max(0, free))} that are free "
            f"(balance {money.show(case.balance_units)}, reserved and not yet billed {money.show(exposure.unbilled_units)}).",
            f"Ask for a shorter lease or a smaller VM, or ask the owner to buy credits at {money.BUY_CREDITS_URL}.",
            code="balance_guard",
            data={"buy_credits_url": money.BUY_CREDITS_URL},
        )


def _concurrent(case: Case, limits: Limits, exposure: Exposure) -> None:
    live = exposure.live_vms + case.others_live
    if case.what != "extend" and live >= limits.max_concurrent_vms:
        others = f" ({case.others_live} of them not made by this daemon)" if case.others_live else ""
        raise Denied(
            f"{live} VMs are live{others}, and the owner allows {limits.max_concurrent_vms} at a time.",
            "Destroy one with aleph_destroy_vm (see aleph_list_my_vms), or wait until a lease ends.",
            code="max_concurrent_vms",
        )


def _session(case: Case, limits: Limits, exposure: Exposure) -> None:
    limit = limits.max_session_spend_units
    if limit is not None and exposure.session_units + case.reserve_units > limit:
        raise Denied(
            f"This session has spent and reserved {money.show(exposure.session_units)}; {money.show(case.reserve_units)} more would pass its limit of {money.show(limit)}.",
            "Destroy a VM of this session that is not needed, or ask for less.",
            code="max_session_spend",
        )


def _daily(case: Case, limits: Limits, exposure: Exposure) -> None:
    limit, bound = limits.max_daily_spend_units, exposure.spent_day_units + exposure.reserved_units
    if limit is not None and bound + case.reserve_units > limit:
        raise Denied(
            f"{money.show(bound)} were spent in the last 24 hours or are reserved; {money.show(case.reserve_units)} more would pass the owner's daily limit of {money.show(limit)}.",
            "Ask for a shorter lease or a smaller VM, or wait: what is not used is given back when a VM is destroyed.",
            code="max_daily_spend",
        )


def _burn(case: Case, limits: Limits, exposure: Exposure) -> None:
    limit = limits.max_hourly_burn_units
    if (
        case.what != "extend"
        and limit is not None
        and exposure.burn_units_per_hour + case.hourly_units > limit
    ):
        raise Denied(
            f"The live VMs cost {money.show(exposure.burn_units_per_hour)} per hour; this one would pass the owner's limit of {money.show(limit)}.",
            "Destroy a VM or ask for fewer compute units.",
            code="max_hourly_burn",
        )


def _floor(case: Case, limits: Limits, exposure: Exposure) -> None:
    left = case.balance_units - exposure.unbilled_units - case.reserve_units
    if left < (limits.min_balance_units or 0):
        raise Denied(
            f"At worst {money.show(left)} of the balance would be left; the least is {money.show(limits.min_balance_units or 0)}.",
            f"Ask for less, or ask the owner to buy credits at {money.BUY_CREDITS_URL}.",
            code="min_balance",
            data={"buy_credits_url": money.BUY_CREDITS_URL},
        )


def _network_day(case: Case, _: Limits, exposure: Exposure) -> None:
    burn = max(exposure.burn_units_per_hour, case.network_hourly_units)
    if case.what != "extend":
        burn += case.hourly_units
    need = burn * NETWORK_MIN_RUNTIME_S // 3600
    if case.balance_units < need:
        raise Denied(
            f"The network admits a VM only if the balance pays all VMs for a day: that needs {money.show(need)}, the balance is {money.show(case.balance_units)}.",
            f"Ask for a smaller VM, or ask the owner to buy credits at {money.BUY_CREDITS_URL}.",
            code="network_24h",
            data={"buy_credits_url": money.BUY_CREDITS_URL},
        )


def _rate(case: Case, limits: Limits, exposure: Exposure) -> None:
    if case.what == "create" and exposure.creates_last_hour >= limits.max_creates_per_hour:
        raise Denied(
            f"{exposure.creates_last_hour} creates were tried in the last hour; the owner allows {limits.max_creates_per_hour}.",
            "Use a VM that exists, or wait.",
            code="max_creates_per_hour",
        )


def worst_case(case: Case) -> int:
    """What the VM may cost in its whole life: many small extensions are no way around a human (rules.md 16)."""
    return max(case.reserve_units, reserve_units(case.hourly_units, case.lifetime_s))


def _human(case: Case, limits: Limits, exposure: Exposure) -> None:
    limit, at_most = limits.human_approval_threshold_units, worst_case(case)
    if case.what == "adopt" and at_most > (case.approved_units or 0):
        raise Denied(
            f"That a VM which nobody here made stays, for up to {money.show(at_most)}, is a human's decision, whatever it costs.",
            "Call aleph_adopt_vm: its answer says how the owner approves it.",
            code=HUMAN_APPROVAL,
        )
    if limit is None or at_most <= (case.approved_units or 0):
        return
    # Nor are many small VMs: what this uid got unasked in a day counts as well.
    before = exposure.unapproved_day_units
    if at_most + before > limit:
        unasked = f", after {money.show(before)} without a human in 24 hours" if before else ""
        raise Denied(
            f"This VM could cost {money.show(at_most)}{unasked}; above {money.show(limit)} a human decides, and nothing that a tool sends can stand in for one.",
            "Ask for a shorter lease or a smaller VM, or call without dry_run: the answer says how the owner approves it.",
            code=HUMAN_APPROVAL,
        )


def _name(case: Case, _: Limits, exposure: Exposure) -> None:
    if case.what != "extend" and case.name in exposure.names:
        raise Conflict(
            f"A live VM is already called {case.name!r}.",
            "Choose another name, or use that VM (aleph_list_my_vms).",
            code="name_taken",
        )


RULES: tuple[Callable[[Case, Limits, Exposure], None], ...] = (
    _ttl,
    _extensions,
    _image,
    _crn,
    _size,
    _price,
    _name,
    _balance_guard,
    _concurrent,
    _session,
    _daily,
    _burn,
    _floor,
    _network_day,
    _rate,
    *PROJECT_RULES,
    _human,
)
"""The mission's order (TTL, price, balance guard, concurrent VMs, session spend), ours in between."""


def evaluate(case: Case, limits: Limits, exposure: Exposure) -> None:
    """Raise the first denial; return when every rule agrees. Confirmation is asked for after that."""
    for rule in RULES:
        rule(case, limits, exposure)


def needs_confirmation(case: Case, limits: Limits) -> bool:
    """Whether the caller must say yes to the price first. An amount at the threshold needs none."""
    return case.estimate_units > limits.cost_threshold_units and not case.confirmed


def affordable(
    limits: Limits,
    exposure: Exposure,
    balance_units: int,
    hourly: int,
    compute_units: int = 1,
    *,
    others_live: int = 0,
    project: str = "",
    network_hourly_units: int = 0,
) -> int:
    """How many VMs of this size, for the default lease, the rules would let pass one after another."""
    seconds = min(limits.default_ttl_s, limits.max_ttl_s)
    case = Case(
        what="create",
        project=project,
        compute_units=compute_units,
        lifetime_s=seconds,
        hourly_units=hourly,
        estimate_units=-(-hourly * seconds // 3600),
        reserve_units=reserve_units(hourly, seconds),
        balance_units=balance_units,
        network_hourly_units=network_hourly_units,
        others_live=others_live,
    )
    for count in range(limits.max_concurrent_vms):
        try:
            evaluate(case, limits, exposure)
        except Refusal:
            return count
        exposure = after(case, exposure)
    return limits.max_concurrent_vms


def after(case: Case, exposure: Exposure) -> Exposure:
    """The exposure once this create was admitted."""
    return replace(
        exposure,
        live_vms=exposure.live_vms + 1,
        reserved_units=exposure.reserved_units + case.reserve_units,
        unbilled_units=exposure.unbilled_units + case.reserve_units,
        session_units=exposure.session_units + case.reserve_units,
        burn_units_per_hour=exposure.burn_units_per_hour + case.hourly_units,
        creates_last_hour=exposure.creates_last_hour + 1,
        unapproved_day_units=exposure.unapproved_day_units + case.reserve_units,
        shares=grown(exposure.shares, case),
    )
