"""The HTTP API of the core channel node: messages, aggregates and authorizations."""

from typing import Any

from aiohttp import web

from aleph_devnet import listing, validation
from aleph_devnet.chain import Chain
from aleph_devnet.clock import Clock
from aleph_devnet.crn_routes import is_hash
from aleph_devnet.message import PENDING, PROCESSED, REJECTED, Message

_HTTP_STATUS = {PROCESSED: 200, PENDING: 202, REJECTED: 422}


class CcnRoutes:
    """Handlers of the message API."""

    def __init__(self, chain: Chain, clock: Clock) -> None:
        self._chain, self._clock = chain, clock

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.router.add_post("/api/v0/messages", self.post)
        for path in ("/api/v0/messages.json", "/api/v0/messages"):
            app.router.add_get(path, self.list)
        app.router.add_get("/api/v0/messages/{hash}", self.get)
        app.router.add_get("/api/v0/messages/{hash}/status", self.status)
        app.router.add_get("/api/v0/aggregates/{address}.json", self.aggregates)
        app.router.add_get("/api/v0/authorizations/received/{address}.json", self.received)
        app.router.add_get("/api/v0/authorizations/granted/{address}.json", self.granted)
        app.router.add_get("/api/v0/version", self.version)

    async def post(self, request: web.Request) -> web.Response:
        """Publish a message."""
        try:
            body = await request.json()
            message = validation.parse(body["message"], self._clock.now())
        except (ValueError, KeyError, TypeError, validation.InvalidFormatError):
            return web.Response(status=422, text="InvalidMessageFormat")
        except validation.InternalNodeError:
            return web.Response(status=500, text="500 Internal Server Error\n\nServer got itself in trouble")
        status = self._chain.receive(message, sync=bool(body.get("sync")))
        published = {"status": "success", "failed": []}
        return web.json_response(
            {"publication_status": published, "message_status": status}, status=_HTTP_STATUS[status]
        )

    async def list(self, request: web.Request) -> web.Response:
        """`messages.json`."""
        try:
            query = listing.Query(request.query)
            found = listing.answer(query, self._chain.index, self._chain.messages.__getitem__)
        except listing.BadQueryError as error:
            return web.Response(status=error.status, text=str(error))
        return web.json_response(found)

    async def get(self, request: web.Request) -> web.Response:
        """One message in the shape of its status."""
        return web.json_response(find(self._chain, request).detailed())

    async def status(self, request: web.Request) -> web.Response:
        """The status alone: what decisions are made from."""
        return web.json_response(find(self._chain, request).status_info())

    async def aggregates(self, request: web.Request) -> web.Response:
        """The aggregates of an address."""
        address = request.match_info["address"]
        keys = request.query.get("keys")
        data = self._chain.aggregates.of(address, keys.split(",") if keys else None)
        if not data:
            return web.Response(status=404, text="No aggregate found for this address")
        return web.json_response({"address": address, "data": data})

    async def received(self, request: web.Request) -> web.Response:
        """Who lets this address act for them."""
        address = request.match_info["address"]
        return _authorizations(address, self._chain.aggregates.granted_to(address), request)

    async def granted(self, request: web.Request) -> web.Response:
        """Whom this address lets act for it."""
        address = request.match_info["address"]
        grouped: dict[str, list[dict[str, Any]]] = {}
        for entry in self._chain.aggregates.authorizations(address):
            terms = {name: value for name, value in entry.items() if name != "address"}
            grouped.setdefault(entry["address"], []).append(terms)
        return _authorizations(address, grouped, request)

    async def version(self, _request: web.Request) -> web.Response:
        """The node's version."""
        return web.json_response({"version": "devnet"})


def find(chain: Chain, request: web.Request) -> Message:
    """The message that a path names: 400 if that is not a hash, 404 if it is unknown."""
    item_hash = request.match_info["hash"]
    if not is_hash(item_hash):
        raise web.HTTPBadRequest(text=f"Invalid message hash: {item_hash}")
    message = chain.get(item_hash)
    if message is None:
        raise web.HTTPNotFound
    return message


def paging(request: web.Request, default: int) -> tuple[int, int]:
    """Page and page size of a query."""
    try:
        page, size = int(request.query.get("page", 1)), int(request.query.get("pagination", default))
    except ValueError as error:
        raise web.HTTPUnprocessableEntity from error
    if page < 1 or size < 1:
        raise web.HTTPUnprocessableEntity
    return page, size


def _authorizations(address: str, grouped: dict[str, Any], request: web.Request) -> web.Response:
    page, size = paging(request, 20)
    shown = list(grouped.items())[(page - 1) * size : page * size]
    return web.json_response(
        {
            "authorizations": dict(shown),
            "pagination_page": page,
            "pagination_per_page": size,
            "pagination_total": len(grouped),
            "pagination_item": "authorizations",
            "address": address,
        }
    )
