"""Prices, balances and CRNs, kept for a while."""

import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from ...domain.model import Expense, SignedMessage
from ...domain.money import SECONDS_PER_HOUR
from ...ports import CrnList, Price
from .cache import Cache
from .ccn import Ccn
from .checked import making_sense, mapping, number
from .costs import rates, total_rate
from .crns import ParsedList, parse_list
from .expenses import list_expenses
from .gpu_prices import gpu_tiers
from .http import Http
from .settings import NetworkSettings

BALANCE_AGE_S = 5
PRICE_AGE_S = 600
CRN_LIST_AGE_S = 60

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Fetched:
    parsed: ParsedList
    age_s: float
    """How old the list already was when we got it."""


class AlephMarket:
    """The `Market` port."""

    def __init__(self, http: Http, ccn: Ccn, settings: NetworkSettings) -> None:
        self._http = http
        self._ccn = ccn
        self._settings = settings
        self._balances = Cache(self._fetch_balance, BALANCE_AGE_S)
        self._burns = Cache(self._fetch_burn, BALANCE_AGE_S)
        self._prices = Cache(self._fetch_price, PRICE_AGE_S)
        self._lists = Cache(self._fetch_crns, CRN_LIST_AGE_S)

    async def close(self) -> None:
        """End running requests."""
        for cache in (self._balances, self._burns, self._prices, self._lists):
            await cache.close()

    async def balance(self, payer: str) -> int:
        """The payer's credits, in units. Addresses are case-sensitive."""
        return (await self._balances.get(payer))[0]

    async def expenses(self, payer: str, since: datetime) -> list[Expense]:
        """Every expense that was booked since then; asked anew each time."""

        async def question(host: str) -> list[Expense]:
            return await list_expenses(self._ccn, host, payer, since)

        return await self._ccn.ask(question)

    async def rates(self, payer: str) -> dict[str, Decimal]:
        """What each un-forgotten VM costs; asked anew each time."""
        return await self._ccn.ask(lambda host: rates(self._ccn, host, payer))

    async def burn(self, payer: str) -> Decimal:
        """What all un-forgotten VMs of the payer cost, in units per second."""
        return (await self._burns.get(payer))[0]

    async def price(self) -> Price:
        """The live price of one compute unit."""
        return (await self._prices.get())[0]

    async def crns(self) -> CrnList:
        """The CRNs, and the age of the list: since it was made, if it says when, else since we got it."""
        fetched, age_s = await self._lists.get()
        return CrnList(fetched.parsed.crns, fetched.age_s + age_s)

    def images(self) -> dict[str, str]:
        """OS image names to rootfs hashes."""
        return self._settings.images()

    async def estimate(self, message: SignedMessage) -> Decimal:
        """What a CCN says this very INSTANCE will cost, in units per second."""
        body = _estimate_body(message)

        async def question(host: str) -> Decimal:
            answer = await self._ccn.estimate(host, "/api/v0/price/estimate", body)
            with making_sense(answer.endpoint):
                return _positive(number(mapping(answer.json())["cost"]))

        return await self._ccn.ask(question)

    async def _fetch_balance(self, payer: str) -> int:
        async def question(host: str) -> int:
            answer = await self._ccn.get(host, f"/api/v0/addresses/{quote(payer, safe='')}/balance")
            with making_sense(answer.endpoint):
                # A debt is possible; a fraction of a unit is not ours to spend.
                return int(number(mapping(answer.json())["credit_balance"], at_least=-(10**18)) // 1)

        return await self._ccn.ask(question)

    async def _fetch_burn(self, payer: str) -> Decimal:
        return await self._ccn.ask(lambda host: total_rate(self._ccn, host, payer))

    async def _fetch_price(self, _key: str) -> Price:
        owner = self._settings.aggregate_address

        async def question(host: str) -> Price:
            answer = await self._ccn.get(host, f"/api/v0/aggregates/{owner}.json", {"keys": "pricing"})
            with making_sense(answer.endpoint):
                # Only the key we need: the SDK's model breaks at the first entity that it does not know.
                pricing = mapping(mapping(answer.json())["data"]["pricing"])
                hourly = number(pricing["instance"]["price"]["compute_unit"]["credit"])
                return Price(_positive(hourly) / SECONDS_PER_HOUR, gpu_tiers(pricing))

        return await self._ccn.ask(question)

    async def _fetch_crns(self, _key: str) -> _Fetched:
        timeout_s = self._settings.timeouts.read_s
        answer = await self._http.get(
            self._settings.crn_list_url, params={"filter_inactive": "false"}, timeout_s=timeout_s
        )
        if answer.status != 200:
            raise answer.unexpected()
        with making_sense(answer.endpoint):
            parsed = parse_list(answer.json(), self._settings.allow_local)
        if parsed.malformed:
            _log.warning("left %d malformed entries out of the CRN list", parsed.malformed)
        return _Fetched(parsed, _age_s(parsed.made_at))


def _age_s(made_at: datetime | None) -> float:
    return 0.0 if made_at is None else max(0.0, (datetime.now(UTC) - made_at).total_seconds())


def _positive(amount: Decimal) -> Decimal:
    if amount <= 0:
        raise ValueError("a price of nothing")
    return amount


def _estimate_body(message: SignedMessage) -> bytes:
    """The SDK's form of an estimate, with its dummy signature: with ours the CCN could create the VM."""
    fields: dict[str, Any] = json.loads(message.body)
    sent = fields | {
        "content": json.loads(fields["item_content"]),
        "signature": "0x" + "0" * 130,
        "time": datetime.fromtimestamp(fields["time"], UTC).isoformat(),
    }
    assert hashlib.sha256(fields["item_content"].encode()).hexdigest() == message.item_hash
    return json.dumps({"message": sent}).encode()
