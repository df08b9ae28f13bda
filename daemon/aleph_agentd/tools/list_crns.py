"""aleph_list_crns: where a VM could run, best first."""

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field

from ..domain import money
from ..domain.clock import span
from ..domain.errors import Unavailable
from ..domain.gpu import ANY
from ..domain.model import Crn
from ..domain.placement import rank
from ..ports import NetworkTrouble
from .base import Answer, Arguments, Call, Tool
from .views import footer

PAGE = 10


class ListArguments(Arguments):
    """Filters that filter."""

    min_compute_units: int = Field(1, ge=1, le=64, description="With room for")
    gpu: bool = Field(False, description="Only with a free GPU")
    gpu_model: str = Field("", max_length=40)
    sort: Literal["best", "cheapest"] = "best"
    name: str = Field("", max_length=80, description="Part of the CRN's name")
    page: int = Field(1, ge=1, le=1000)


class CrnView(BaseModel):
    """One compute resource node; everything in it is what its owner says."""

    hash: str
    name: str
    url: str
    score: float
    version: str
    has_gpu: bool
    terms_and_conditions: str = Field(description="To be accepted by hash: accept_terms of aleph_create_vm")
    gpus: list[str] = Field(default_factory=list, description="Free models")
    hourly_cost: float
    hourly_cost_usd: float
    recent_failures: int = 0
    free_memory_mib: int
    cpu_count: int


class CrnPage(Answer):
    """Ten CRNs, best first."""

    crns: list[CrnView]
    total: int
    page: int
    pages: int
    list_age: str


async def run(call: Call, arguments: ListArguments) -> CrnPage:
    """The CRNs that can host it now, by their own claim."""
    try:
        listed = await call.services.market.crns()
    except NetworkTrouble as trouble:
        raise Unavailable(
            f"The list of CRNs is not known now: {trouble}.", "Try again in a minute."
        ) from trouble
    units = arguments.min_compute_units
    part = arguments.name.strip().lower()
    wish = arguments.gpu_model.strip() or (ANY if arguments.gpu else "")
    need = await call.services.planner.need(units, wish)
    failures = call.services.planner.breakers.failures()
    able = rank(listed.crns, need, failures, cheapest=arguments.sort == "cheapest")
    cu_rate = await call.services.treasury.cu_rate()
    found = [crn for crn in able if part in crn.name.lower()]
    start = (arguments.page - 1) * PAGE
    return CrnPage(
        **await footer(call),
        crns=[
            _view(crn, need.price(crn) or cu_rate * units, failures.get(crn.hash, 0))
            for crn in found[start : start + PAGE]
        ],
        total=len(found),
        page=arguments.page,
        pages=max(1, -(-len(found) // PAGE)),
        list_age=span(listed.age_s),
    )


def _view(crn: Crn, rate: Decimal, failed: int) -> CrnView:
    return CrnView(
        hash=crn.hash,
        name=crn.name,
        url=crn.url,
        score=round(crn.score, 3),
        version=crn.version,
        has_gpu=crn.has_gpu,
        terms_and_conditions=crn.terms_and_conditions,
        free_memory_mib=crn.free_memory_mib,
        cpu_count=crn.cpu_count,
        gpus=sorted({gpu.model for gpu in crn.gpus}),
        hourly_cost=money.in_credits(money.hourly_units(rate)),
        hourly_cost_usd=money.in_usd(money.hourly_units(rate)),
        recent_failures=failed,
    )


TOOL = Tool(
    name="aleph_list_crns",
    title="List CRNs",
    description="Compute nodes (CRNs) with room for a VM, best first, 10 per page. Not needed before a create: it chooses one itself.",
    arguments=ListArguments,
    answer=CrnPage,
    run=run,
    read_only=True,
    idempotent=True,
)
