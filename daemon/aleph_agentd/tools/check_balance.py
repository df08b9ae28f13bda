"""aleph_check_balance: what there is, what is bound, what it buys."""

from ..domain import money, policy
from ..domain.compute_units import TIERS
from ..domain.errors import Refusal
from ..services.runway import runway_s
from .base import Answer, Arguments, Call, Tool
from .views import VmView, footer, overview_of, vm_view


class BalanceArguments(Arguments):
    """None."""


class Balance(Answer):
    """Credits (1 credit = US$0.01), burn and runway."""

    balance_credits: float | None
    balance_usd: float | None
    burn_rate_per_hour: float
    burn_rate_per_hour_usd: float
    runway_hours: float | None
    reserved_credits: float
    reserved_usd: float
    active_vm_count: int
    active_vms: list[VmView]
    affordable: dict[str, int]
    buy_credits_url: str = money.BUY_CREDITS_URL
    warnings: list[str]


async def run(call: Call, _: BalanceArguments) -> Balance:
    """Answers from the inventory also when the network is away, and says so."""
    services, now = call.services, call.services.clock.now()
    warnings = await call.services.sweeper.first_look(call.caller.session)
    overview = await overview_of(call)
    exposure, balance, network, affordable = overview.exposure, None, 0, {}
    try:
        balance = await services.treasury.balance()
        rate = await services.treasury.cu_rate()
        limits = services.treasury.limits_of(call.caller)
        network = await services.treasury.network_hourly()
        others = call.services.sweeper.findings.others_live
        affordable = {
            f"{units} CU": policy.affordable(
                limits,
                exposure,
                balance,
                money.hourly_units(rate * units),
                units,
                others_live=others,
                project=call.caller.project,
                network_hourly_units=network,
            )
            for units in TIERS
        }
    except Refusal as refusal:
        warnings.append(refusal.message)
    burn = exposure.burn_units_per_hour
    left_s = None if balance is None else runway_s(balance, max(burn, network))
    runway = None if left_s is None else round(left_s / 3600, 1)
    if runway is not None and runway < 24:
        warnings.append(
            f"The balance lasts {runway:g} more hours at this burn; buy credits at {money.BUY_CREDITS_URL}."
        )
    return Balance(
        **await footer(call),
        balance_credits=None if balance is None else money.in_credits(balance),
        balance_usd=None if balance is None else money.in_usd(balance),
        burn_rate_per_hour=money.in_credits(burn),
        burn_rate_per_hour_usd=money.in_usd(burn),
        runway_hours=runway,
        reserved_credits=money.in_credits(exposure.reserved_units),
        reserved_usd=money.in_usd(exposure.reserved_units),
        active_vm_count=exposure.live_vms,
        active_vms=[vm_view(vm, now, call.caller.session) for vm in overview.newest],
        affordable=affordable,
        warnings=warnings,
    )


TOOL = Tool(
    name="aleph_check_balance",
    title="Check balance",
    description="Credits left (1 credit = US$0.01), burn per hour, runway, live VMs, and how many VMs of each size are affordable.",
    arguments=BalanceArguments,
    answer=Balance,
    run=run,
    read_only=True,
    idempotent=True,
    always_load=True,
)
