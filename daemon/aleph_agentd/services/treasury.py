"""What money there is, what is bound, and what a VM would cost."""

import asyncio
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from ..domain import money
from ..domain.caller import Caller
from ..domain.clock import Clock
from ..domain.errors import Unavailable
from ..domain.gpu import Tiers
from ..domain.limits import Limits, tighten
from ..domain.model import LIVE, Crn, Exposure, Vm
from ..domain.projects import budgets_of, for_project
from ..ports import Inventory, KeyMissing, Market, NetworkTrouble, Signer
from .own_key import no_key

PRICE_UNIT_CHANGED = "price_unit_changed"
QUOTE_VALID_S = 600
MAX_QUOTES = 500
MAX_QUOTES_PER_UID = 200
MAX_QUOTES_PER_SESSION = 20
MAX_PRICE_MOVE = Decimal("0.05")
_OVERVIEW_AGE_S = 2.0
_NEWEST, _STUCK = 10, 100
_BURN_WAIT_S = 2.0


@dataclass(frozen=True)
class Quote:
    """A priced plan that one session was shown."""

    id: str
    session: str
    uid: int
    request: tuple[object, ...]
    """The normalised request: everything that was asked for, without `confirmed` and `dry_run`."""
    crn: Crn
    rate: Decimal
    policy: str
    """The version of the limits under which it was made."""
    made_at: float
    """Monotonic seconds."""


class Overview(NamedTuple):
    """One look at the inventory; it costs the same however many VMs there are."""

    exposure: Exposure
    newest: list[Vm]
    """The newest live VMs, at most 10."""
    next_end: Vm | None
    """Whose lease ends first."""
    stuck: list[Vm]
    """Whose teardown failed often, at most 100."""


class Treasury:
    """Balances, prices, quotes, and what is left of the limits."""

    def __init__(
        self,
        inventory: Inventory,
        market: Market,
        signer: Signer,
        clock: Clock,
        limits: Limits,
        human_address: str,
    ) -> None:
        self._inventory, self._market, self._signer, self.clock = inventory, market, signer, clock
        self._human_address = human_address
        self.limits = limits
        self._quotes: OrderedDict[str, Quote] = OrderedDict()
        self._overviews: OrderedDict[tuple[str, int, str], tuple[int, float, Overview]] = OrderedDict()

    @property
    def payer(self) -> str:
        """Who pays: the human in delegated mode, else our own account; empty while there is no key."""
        if self._human_address:
            return self._human_address
        try:
            return "" if self._signer.trouble else self._signer.address
        except KeyMissing:  # its first use claims it: another daemon, or another key's inventory, may refuse
            return ""

    def limits_of(self, caller: Caller, project: str | None = None) -> Limits:
        """The owner's limits, or stricter ones that the session or its project's budgets ask for."""
        return for_project(
            tighten(self.limits, caller.limits), caller.project if project is None else project
        )

    async def exposure(self, caller: Caller) -> Exposure:
        """What is bound at this instant, as the admission of this caller's request would see it."""
        return await self._inventory.exposure(
            caller.session,
            self.clock.now(),
            budgets_of(self.limits, caller.project),
            uid=caller.peer.uid,
        )

    async def balance(self) -> int:
        """The payer's balance in units."""
        if not self.payer:
            if self._signer.trouble:
                raise no_key(self._signer.trouble)
            raise Unavailable(
                "There is no payer: the daemon has no key and no HUMAN_ADDRESS.",
                "Ask the owner to set ALEPH_AGENT_PRIVATE_KEY_PATH or ALEPH_AGENT_HUMAN_ADDRESS and to restart aleph-agentd.",
            )
        try:
            return await self._market.balance(self.payer)
        except NetworkTrouble as trouble:
            raise Unavailable(
                f"The balance is not known now: {trouble}.", "Try again in a minute."
            ) from trouble

    async def balance_if_known(self) -> int | None:
        """The payer's balance in units, or None."""
        try:
            return await self.balance()
        except Unavailable:
            return None

    async def network_hourly(self) -> int:
        """What the payer's un-forgotten VMs cost per hour, those of others too; 0 when that is not told at once."""
        if not self.payer:
            return 0
        try:
            async with asyncio.timeout(_BURN_WAIT_S):
                return money.hourly_units(await self._market.burn(self.payer))
        except (NetworkTrouble, TimeoutError):
            return 0

    async def cu_rate(self) -> Decimal:
        """Units per second of one compute unit; refuses when the network's unit seems to have changed."""
        try:
            rate = (await self._market.price()).cu_rate
        except NetworkTrouble as trouble:
            raise Unavailable(
                f"The live price is not known now: {trouble}.", "Try again in a minute."
            ) from trouble
        low, high = money.CU_HOUR_RANGE_UNITS
        if not low <= money.hourly_units(rate) <= high:
            raise Unavailable(
                f"One compute unit is priced at {money.show(money.hourly_units(rate))} per hour, which no VM costs: the network changed its unit.",
                "Nothing is created until aleph-agentd is updated; running VMs still end on time. Tell the owner.",
                code=PRICE_UNIT_CHANGED,
            )
        return rate

    async def gpu_tiers(self) -> Tiers:
        """How GPUs are sold now; what no GPU costs is left out."""
        try:
            tiers = (await self._market.price()).gpus
        except NetworkTrouble as trouble:
            raise Unavailable(
                f"The live price of GPUs is not known now: {trouble}.", "Try again in a minute."
            ) from trouble
        low, high = money.CU_HOUR_RANGE_UNITS
        return {
            model: tier
            for model, tier in tiers.items()
            if low <= money.hourly_units(tier.rate / tier.compute_units) <= high
        }

    async def overview(self, session: str, uid: int = -1, project: str = "") -> Overview:
        """What is bound now; reads the database again only when it changed, or after 2 seconds."""
        version, budgets = self._inventory.version, budgets_of(self.limits, project)
        key = (session, uid, "\n".join(budgets))
        kept = self._overviews.get(key)
        if kept and kept[0] == version and time.monotonic() - kept[1] < _OVERVIEW_AGE_S:
            return kept[2]
        exposure = await self._inventory.exposure(session, self.clock.now(), budgets, uid=uid)
        overview = Overview(
            exposure,
            newest=await self._inventory.page(states=sorted(LIVE), limit=_NEWEST),
            next_end=await self._inventory.next_end(),
            stuck=await self._inventory.stuck(_STUCK),
        )
        self._overviews[key] = (version, time.monotonic(), overview)
        while len(self._overviews) > 64:
            self._overviews.popitem(last=False)
        return overview

    def budget_left(self, limits: Limits, exposure: Exposure) -> int | None:
        """The least that any spending limit leaves, in units; None when no limit is set."""
        left = []
        if limits.max_daily_spend_units is not None:
            left.append(limits.max_daily_spend_units - exposure.spent_day_units - exposure.reserved_units)
        if limits.max_session_spend_units is not None:
            left.append(limits.max_session_spend_units - exposure.session_units)
        for path, share in exposure.shares.items():
            budget = limits.projects[path].max_daily_spend_units
            left += [] if budget is None else [budget - share.day_units]
        return max(0, min(left)) if left else None

    def quote(self, caller: Caller, request: tuple[object, ...], crn: Crn, rate: Decimal) -> Quote:
        """Remember a plan that is shown to a session, for ten minutes and one use.

        Who asks for many loses its own oldest ones first.
        """
        name, uid = "q-" + secrets.token_hex(8), caller.peer.uid
        quote = Quote(name, caller.session, uid, request, crn, rate, self.limits.version, time.monotonic())
        self._quotes[quote.id] = quote
        kept = self._quotes.values()
        self._drop([q for q in kept if q.session == quote.session], MAX_QUOTES_PER_SESSION)
        self._drop([q for q in kept if q.uid == uid], MAX_QUOTES_PER_UID)
        self._drop(list(kept), MAX_QUOTES)
        return quote

    def _drop(self, quotes: list[Quote], most: int) -> None:
        for quote in quotes[: max(0, len(quotes) - most)]:
            del self._quotes[quote.id]

    def find_quote(self, session: str, request: tuple[object, ...], quote_id: str = "") -> Quote | None:
        """The newest valid quote of this very request in this session, made under the limits in force."""
        horizon, policy = time.monotonic() - QUOTE_VALID_S, self.limits.version
        for quote in reversed(self._quotes.values()):
            fits = quote.session == session and quote.request == request and quote.policy == policy
            if fits and quote.made_at >= horizon and quote_id in ("", quote.id):
                return quote
        return None

    def void_quotes(self) -> None:
        """Forget what was shown: it was priced against books that are not to be relied on."""
        self._quotes.clear()

    def use_quote(self, quote: Quote) -> bool:
        """Spend a quote; False when it was spent before."""
        return self._quotes.pop(quote.id, None) is not None


def moved_too_far(quoted: Decimal, live: Decimal) -> bool:
    """Whether the price moved by more than 5 % since the quote."""
    return abs(live - quoted) > quoted * MAX_PRICE_MOVE
