"""`/devnet/`: the truth, and the levers, for tests. Served on the CCN's address, to this machine only."""

import json
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

from aiohttp import web

from aleph_devnet import crn_list, faults, figures
from aleph_devnet.message import PROCESSED, REMOVED, REMOVING
from aleph_devnet.network import Network

Action = Callable[[dict[str, Any]], Awaitable[Any]]


class ControlRoutes:
    """Handlers of the levers. Every POST takes one JSON object and answers with one."""

    def __init__(self, network: Network) -> None:
        self._net = network

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.router.add_get("/devnet/state", self._reader(self._state))
        app.router.add_get("/devnet/requests", self._reader(lambda: list(self._net.faults.requests)))
        app.router.add_get(
            "/devnet/faults", self._reader(lambda: [f.listed() for f in self._net.faults.active])
        )
        app.router.add_delete("/devnet/faults", self._clear_faults)
        for name in ("credits", "faults", "clock", "replay", "images", "figures"):
            app.router.add_post(f"/devnet/{name}", self._lever(getattr(self, f"_{name}")))
        app.router.add_post("/devnet/messages/{hash}", self._lever(self._message))

    def _reader(self, read: Callable[[], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            _check_peer(request)
            return web.json_response(read())

        return handle

    def _lever(self, action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            _check_peer(request)
            try:
                body = json.loads(await request.read() or b"{}")
                return web.json_response(await action({**body, **request.match_info}))
            except (ValueError, KeyError, TypeError) as error:
                return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)

        return handle

    def _state(self) -> dict[str, Any]:
        net = self._net
        now = net.clock.now()
        crns = {crn.node.hash: {"url": crn.node.url, "up": crn.up, "vms": list(crn.vms)} for crn in net.crns}
        messages = [message.truth() for message in net.chain.messages.values()]
        return {"messages": messages, "crns": crns, **net.chain.ledger.truth(now), "now": now}

    async def _credits(self, body: dict[str, Any]) -> Any:
        address, now = str(body["address"]), self._net.clock.now()
        self._net.chain.ledger.deposit(address, int(body["units"]), now)
        self._net.exhaustion.recover(address, now)
        return {"address": address, "units": self._net.chain.ledger.balance(address, now)}

    async def _clock(self, body: dict[str, Any]) -> Any:
        if "set_offset_s" in body:
            self._net.clock.set_offset(float(body["set_offset_s"]))
        else:
            self._net.clock.advance(float(body["advance_s"]))
        # What became due is done when the answer arrives, so that tests need not wait for the ticker.
        await self._net.tick()
        return {"now": self._net.clock.now(), "offset_s": self._net.clock.offset_s}

    async def _faults(self, body: dict[str, Any]) -> Any:
        if "crn" in body:
            crn = {crn.node.hash: crn for crn in self._net.crns}[body["crn"]]
            if "clock_skew_s" in body:
                crn.clock_skew_s = float(body["clock_skew_s"])
            if "down" in body:
                await self._net.set_down(crn, down=bool(body["down"]))
            return {"crn": crn.node.hash, "up": crn.up, "clock_skew_s": crn.clock_skew_s}
        fault = faults.parse(body)
        if fault.effect.get("stale"):
            self._freeze_list(fault)
        self._net.strike(fault)
        return fault.listed()

    def _freeze_list(self, fault: faults.Fault) -> None:
        """A stale CRN list is the list of now, whether or not anyone has read it yet."""
        for query in ("", "?filter_inactive=true", "?filter_inactive=false"):
            inactive = query.endswith("true")
            frozen = crn_list.document(self._net.crns, self._net.clock.now(), filter_inactive=inactive)
            kept = (200, json.dumps(frozen).encode(), "application/json")
            fault.stale["crn_list", f"/crns.json{query}"] = kept

    async def _clear_faults(self, request: web.Request) -> web.Response:
        _check_peer(request)
        self._net.lift(*self._net.faults.active)
        for crn in self._net.crns:
            crn.clock_skew_s = 0.0
            await self._net.set_down(crn, down=False)
        return web.json_response([])

    async def _replay(self, body: dict[str, Any]) -> Any:
        return {"status": self._net.chain.replay(body["item_hash"])}

    async def _images(self, body: dict[str, Any]) -> Any:
        self._net.chain.add_image(str(body["item_hash"]), self._net.accounts["network"].address)
        return {"item_hash": body["item_hash"]}

    async def _figures(self, body: dict[str, Any]) -> Any:
        given = dict(body.get("excuses", {}))
        excuses = {name: [(float(since), float(to)) for since, to in given[name]] for name in given}
        return figures.summary(figures.lives(self._net, excuses), body.get("rows", []))

    async def _message(self, body: dict[str, Any]) -> Any:
        if body["status"] not in (PROCESSED, REMOVING, REMOVED):
            raise ValueError("status is processed, removing or removed")
        self._net.chain.force(body["hash"], body["status"])
        return {"item_hash": body["hash"], "status": body["status"]}


def _check_peer(request: web.Request) -> None:
    if not ip_address(request.remote or "0.0.0.0").is_loopback:
        raise web.HTTPForbidden
