"""From a request to a priced plan: CRN, price, and what the policy says of it."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from ..domain import money, policy
from ..domain.caller import Caller
from ..domain.crn import Crn, Gpu
from ..domain.errors import BadInput, NotFound, Refusal, Unavailable
from ..domain.gpu import Size, gpu_size, offer, plain_size, wanted_tiers
from ..domain.placement import Need, choose
from ..ports import Market, NetworkTrouble
from .breakers import Breakers
from .treasury import Quote, Treasury, moved_too_far

_MODELS = 12


@dataclass(frozen=True, kw_only=True)
class CreateRequest:
    """What was asked for, with the defaults filled in. `confirmed` and `dry_run` are not part of it."""

    name: str
    crn: str = ""
    compute_units: int = 1
    ttl_hours: float
    os_image: str
    ssh_pubkey: str
    purpose: str = ""
    max_hourly_units: int | None = None
    gpu: str = ""
    """A model, or `any`; the size goes by it then."""
    accept_terms: str = ""
    """The hash of a CRN's terms that the caller accepts."""
    setup: str = ""
    """A script that the VM runs once, at first contact."""
    idle_minutes: int = 0
    """When it was idle for so long it ends early; 0: never."""
    save_paths: str = ""
    """What is taken out of it before its lease ends, one path a line."""

    @property
    def ttl_s(self) -> int:
        """The lease in seconds."""
        return money.whole_s(self.ttl_hours)

    def fingerprint(self) -> tuple[object, ...]:
        """What a quote is bound to."""
        where = (self.crn, self.gpu, self.accept_terms, self.setup, self.idle_minutes, self.save_paths)
        size = (self.compute_units, self.ttl_hours, self.os_image, self.max_hourly_units)
        return (self.name, *where, *size)


@dataclass(frozen=True)
class Plan:
    """A request with its CRN and price."""

    request: CreateRequest
    crn: Crn
    rate: Decimal
    why: str
    quote: Quote | None
    """The quote that the caller saw and now confirms; None when there is none."""
    size: Size
    gpu: Gpu | None = None

    @property
    def hourly_units(self) -> int:
        """Units per hour."""
        return money.hourly_units(self.rate)

    @property
    def estimate_units(self) -> int:
        """What the lease costs if it ends on time."""
        return money.cost_units(self.rate, self.request.ttl_s)

    @property
    def reserve_units(self) -> int:
        """What is reserved for it."""
        return policy.reserve_units(self.hourly_units, self.request.ttl_s)


class Planner:
    """Prices requests; creates nothing."""

    def __init__(
        self, treasury: Treasury, market: Market, dice: random.Random, others_live: Callable[[], int]
    ) -> None:
        self._treasury, self._market, self._dice = treasury, market, dice
        self._others_live = others_live
        self.breakers = Breakers(treasury.clock)
        self.gates: list[Callable[[], None]] = [self.breakers.check]
        """What may stand in the way of any create, asked before it begins; each raises its Refusal."""

    async def plan(
        self, request: CreateRequest, caller: Caller, *, confirmed: bool, quote_id: str = ""
    ) -> Plan:
        """Choose a CRN and price the request. A confirmed quote keeps its CRN while its price holds."""
        images = self._market.images()
        if request.os_image not in images:
            raise BadInput(
                f"There is no image {request.os_image[:40]!r}.", f"Use one of: {', '.join(sorted(images))}."
            )
        quote = (
            self._treasury.find_quote(caller.session, request.fingerprint(), quote_id) if confirmed else None
        )
        if quote:
            plan = await self._priced(request, quote.crn, "as quoted", quote)
            if not moved_too_far(quote.rate, plan.rate):
                return plan
        crn, why = await self.place(request, caller)
        return await self._priced(request, crn, why)

    async def again(self, plan: Plan, caller: Caller, avoid: frozenset[str]) -> Plan:
        """The same on another CRN, at the same price: a GPU is of the same model."""
        request = replace(plan.request, gpu=plan.gpu.model) if plan.gpu else plan.request
        crn, why = await self.place(request, caller, avoid)
        moved = await self._priced(request, crn, why)
        return replace(moved, request=plan.request, rate=plan.rate)

    async def _priced(self, request: CreateRequest, crn: Crn, why: str, quote: Quote | None = None) -> Plan:
        if not request.gpu:
            rate = await self._treasury.cu_rate() * request.compute_units
            return Plan(request, crn, rate, why, quote, plain_size(request.compute_units))
        found = offer(crn, request.gpu, await self._treasury.gpu_tiers())
        if found is None:
            raise Unavailable(
                f"CRN {crn.name} has no such GPU free any more.", "Call again for another offer."
            )
        gpu, tier = found
        return Plan(request, crn, tier.rate, f"{gpu.model}; {why}", quote, gpu_size(tier), gpu)

    async def need(self, units: int, gpu: str) -> Need:
        """What a VM of this size, or with this GPU, needs. Raises NotFound for a GPU that is not sold."""
        size = plain_size(units)
        tiers = await self._treasury.gpu_tiers() if gpu else {}
        if gpu and not wanted_tiers(gpu, tiers):
            models = ", ".join(sorted(tier.model for tier in tiers.values())[:_MODELS]) or "none now"
            raise NotFound(
                f"The network sells no GPU {gpu[:40]!r}.", f"It sells: {models}; or take any.", code="no_gpu"
            )
        return Need(size.vcpus, size.memory_mib, size.disk_mib, gpu.strip().lower(), tiers)

    async def place(
        self, request: CreateRequest, caller: Caller, avoid: frozenset[str] = frozenset()
    ) -> tuple[Crn, str]:
        """The CRN for a request, and why."""
        try:
            listed = await self._market.crns()
        except NetworkTrouble as trouble:
            raise Unavailable(
                f"The list of CRNs is not known now: {trouble}.", "Try again in a minute."
            ) from trouble
        limits = self._treasury.limits_of(caller)
        pick = partial(
            choose,
            listed.crns,
            await self.need(request.compute_units, request.gpu),
            wanted=request.crn,
            allowed=limits.allowed_crns,
            failures=self.breakers.failures(),
            accept={request.accept_terms} | (limits.accept_terms or frozenset()),
            dice=self._dice,
        )
        try:
            choice = pick(avoid=avoid | self.breakers.avoided())
        except Unavailable:
            choice = pick(avoid=avoid)
        self.breakers.check_crn(choice.crn)
        return choice.crn, choice.why

    async def case(self, plan: Plan, caller: Caller, *, confirmed: bool) -> policy.Case:
        """What the policy decides on."""
        balance, burn = await asyncio.gather(self._treasury.balance(), self._treasury.network_hourly())
        return policy.Case(
            what="create",
            name=plan.request.name,
            project=caller.project,
            os_image=plan.request.os_image,
            crn_hash=plan.crn.hash,
            compute_units=plan.size.compute_units,
            lifetime_s=plan.request.ttl_s,
            hourly_units=plan.hourly_units,
            estimate_units=plan.estimate_units,
            reserve_units=plan.reserve_units,
            balance_units=balance,
            network_hourly_units=burn,
            others_live=self._others_live(),
            max_hourly_units=plan.request.max_hourly_units,
            confirmed=confirmed,
        )

    async def objections(self, plan: Plan, caller: Caller) -> list[str]:
        """What would refuse this plan now, in words; for quotes, which always answer."""
        try:
            for gate in self.gates:
                gate()
            case = await self.case(plan, caller, confirmed=True)
            overview = await self._treasury.overview(caller.session, caller.peer.uid, caller.project)
            policy.evaluate(case, self._treasury.limits_of(caller), overview.exposure)
        except Refusal as refusal:
            return [f"would be refused now ({refusal.code}): {refusal.message} {refusal.hint}"]
        return []

    def remember(self, plan: Plan, caller: Caller) -> Quote:
        """Show this plan to the session: it may be confirmed within ten minutes, once."""
        return self._treasury.quote(caller, plan.request.fingerprint(), plan.crn, plan.rate)
