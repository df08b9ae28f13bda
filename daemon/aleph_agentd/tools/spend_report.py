"""aleph_spend_report: what was spent today, by this session, and by each of its VMs."""

from datetime import timedelta

from pydantic import BaseModel, Field

from ..domain import money
from ..services.spending import SpendLine, spend_lines
from .base import Answer, Arguments, Call, Tool
from .views import footer, overview_of

PAGE = 5


class SpendArguments(Arguments):
    """Which page."""

    after: str = Field("", max_length=64, description="item_hash of the last VM of the page before")


class VmSpend(BaseModel):
    """Credits of one VM."""

    item_hash: str
    name: str
    live: bool
    reserved: float
    estimated: float
    observed: float | None = Field(description="Booked by the network in 24 h; null: not told yet")


class SpendReport(Answer):
    """Credits; 1 = US$0.01."""

    today_credits: float = Field(description="Settled in 24 h by everybody, and all that is reserved")
    today_usd: float
    session_credits: float
    session_usd: float
    reserved_credits: float
    reserved_usd: float
    observed_credits: float = Field(description="What the network booked for the owner's VMs in 24 h")
    observed_usd: float
    vms: list[VmSpend]
    total: int
    more: bool


async def run(call: Call, arguments: SpendArguments) -> SpendReport:
    """Sums of everybody, VMs of this session alone; from the inventory, also when the network is away."""
    services = call.services
    exposure = (await overview_of(call)).exposure
    lines, total = await spend_lines(
        services.inventory,
        services.expenses,
        services.clock,
        services.clock.now() - timedelta(hours=24),
        session=call.caller.session,
        limit=PAGE + 1,
        after=arguments.after,
    )
    today = exposure.spent_day_units + exposure.reserved_units
    observed = services.expenses.observed_units
    return SpendReport(
        **await footer(call),
        today_credits=money.in_credits(today),
        today_usd=money.in_usd(today),
        session_credits=money.in_credits(exposure.session_units),
        session_usd=money.in_usd(exposure.session_units),
        reserved_credits=money.in_credits(exposure.reserved_units),
        reserved_usd=money.in_usd(exposure.reserved_units),
        observed_credits=money.in_credits(observed),
        observed_usd=money.in_usd(observed),
        vms=[_view(line) for line in lines[:PAGE]],
        total=total,
        more=len(lines) > PAGE,
    )


def _view(line: SpendLine) -> VmSpend:
    return VmSpend(
        item_hash=line.of.item_hash,
        name=line.of.name,
        live=line.of.live,
        reserved=money.in_credits(line.of.reserved),
        estimated=money.in_credits(line.estimated),
        observed=None if line.observed is None else money.in_credits(line.observed),
    )


TOOL = Tool(
    name="aleph_spend_report",
    title="Spend report",
    description="What was spent and reserved: today, by this session, by each of its VMs; and the budget left. 5 VMs per page.",
    arguments=SpendArguments,
    answer=SpendReport,
    run=run,
    read_only=True,
    idempotent=True,
    open_world=False,
)
