"""The HTTP API of the core channel node: prices, balances, history and costs."""

import json
from decimal import Decimal
from typing import Any

from aiohttp import web

from aleph_devnet import history
from aleph_devnet.ccn import find, paging
from aleph_devnet.chain import Chain
from aleph_devnet.clock import Clock
from aleph_devnet.message import FORGOTTEN, LIVE, PENDING, REJECTED, REMOVED
from aleph_devnet.pricing import per_second

_NO_PRICE = {
    PENDING: (404, "Message still pending"),
    REJECTED: (404, "This message was rejected"),
    FORGOTTEN: (410, "This message has been forgotten"),
    REMOVED: (410, "This message has been removed"),
}


class MoneyRoutes:
    """Handlers of everything that is about credits."""

    def __init__(self, chain: Chain, clock: Clock) -> None:
        self._chain, self._ledger, self._clock = chain, chain.ledger, clock

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.router.add_post("/api/v0/price/estimate", self.estimate)
        app.router.add_get("/api/v0/price/{hash}", self.price)
        app.router.add_get("/api/v0/addresses/{address}/balance", self.balance)
        app.router.add_get("/api/v0/addresses/{address}/credit_history", self.history)
        app.router.add_get("/api/v0/costs", self.costs)
        app.router.add_get("/api/v0/messages/{hash}/consumed_credits", self.consumed)

    async def estimate(self, request: web.Request) -> web.Response:
        """The price of content that is not published yet."""
        try:
            message = (await request.json())["message"]
            content = json.loads(message["item_content"])
            return web.json_response(_price(content, self._chain.rate(content)))
        except (ValueError, KeyError, TypeError):
            return web.Response(status=422, text="InvalidMessageFormat")

    async def price(self, request: web.Request) -> web.Response:
        """The price of a VM that is charged for."""
        message = find(self._chain, request)
        if message.status not in LIVE:
            status, text = _NO_PRICE[message.status]
            return web.Response(status=status, text=f"{text}: {message.item_hash}")
        charge = self._ledger.charge(message.item_hash)
        if charge is None:
            text = f"Message is not an executable or store message: {message.item_hash}"
            return web.Response(status=400, text=text)
        return web.json_response(_price(message.content, charge.rate_milli))

    async def balance(self, request: web.Request) -> web.Response:
        """Credits; an unknown address has none."""
        address = request.match_info["address"]
        credits = self._ledger.balance(address, self._clock.now())
        return web.json_response(
            {
                "address": address,
                "balance": 0.0,
                "details": {},
                "locked_amount": 0.0,
                "credit_balance": credits,
            }
        )

    async def history(self, request: web.Request) -> web.Response:
        """What was paid in and what was spent, the newest first; 404 when there is nothing."""
        address, query = request.match_info["address"], request.query
        rows = history.credit_history(self._ledger, address, self._clock.now())
        for name in ("payment_method", "origin_ref", "origin", "provider"):
            rows = [row for row in rows if row[name] == query[name]] if name in query else rows
        page, size = paging(request, 100)
        shown = rows[(page - 1) * size : page * size]
        if not shown:
            return web.Response(status=404, text="No credit history found for this address")
        answer = {"address": address, "credit_history": shown, "pagination_item": "credit_history"}
        return web.json_response({**answer, **_pages(page, size, len(rows))})

    async def costs(self, request: web.Request) -> web.Response:
        """What is charged for now, per VM."""
        query = request.query
        rows = history.costs(self._ledger, query.get("address"), query.get("item_hash"), self._clock.now())
        if query.get("payment_type", "credit") != "credit":
            rows = []
        total = sum((Decimal(row["cost_credit"]) for row in rows), Decimal(0))
        summary = {
            "total_consumed_credits": sum(row["consumed_credits"] for row in rows),
            "total_cost_hold": "0",
            "total_cost_stream": "0",
            "total_cost_credit": str(total),
            "resource_count": len(rows),
        }
        filters = {name: query.get(name) for name in ("address", "item_hash", "payment_type")}
        answer: dict[str, Any] = {"summary": summary, "filters": filters}
        if query.get("include_details", "0") in ("1", "2"):
            page, size = paging(request, 100)
            answer["resources"] = rows[(page - 1) * size : page * size]
            answer |= {**_pages(page, size, len(rows)), "pagination_item": "resources"}
        return web.json_response(answer)

    async def consumed(self, request: web.Request) -> web.Response:
        """What one VM took, as far as it is booked: it lags."""
        item_hash = request.match_info["hash"]
        units = history.consumed(self._ledger, item_hash, self._clock.now())
        return web.json_response({"item_hash": item_hash, "consumed_credits": units})


def _price(content: dict[str, Any], rate_milli: int) -> dict[str, Any]:
    cost = per_second(rate_milli)
    kind = (content.get("payment") or {}).get("type") or "hold"
    row = {"type": "EXECUTION", "name": "instance", "cost_hold": "0", "cost_stream": "0", "cost_credit": cost}
    return {
        "required_tokens": float(cost),
        "payment_type": kind,
        "cost": cost,
        "detail": [row],
        "charged_address": content.get("address"),
    }


def _pages(page: int, size: int, total: int) -> dict[str, int]:
    return {"pagination_page": page, "pagination_per_page": size, "pagination_total": total}
