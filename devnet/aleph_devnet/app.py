"""Serving a network: one HTTP server for the CCN and the CRN list, one per CRN, and the ticker."""

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any

from aiohttp import web

from aleph_devnet import crn_list
from aleph_devnet.ccn import CcnRoutes
from aleph_devnet.ccn_money import MoneyRoutes
from aleph_devnet.clock import http_date
from aleph_devnet.control import ControlRoutes
from aleph_devnet.crn import Crn
from aleph_devnet.crn_routes import CrnRoutes
from aleph_devnet.hardware import save_node
from aleph_devnet.network import Network
from aleph_devnet.watch import WatchRoutes

MAX_BODY = 2**20
LIST_PATH = "/crns.json"


class Devnet:
    """A running network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._runners: dict[str, web.AppRunner] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._port = 0
        network.set_down = self.set_down

    async def start(self) -> dict[str, Any]:
        """Listen everywhere; returns what clients need to know, and writes it to `devnet.json`."""
        options = self.network.options
        wanted = [options.port] if options.port else [self.network.store.get("meta", "port") or 0, 0]
        self._port = await self._listen("ccn", self._ccn_app(), options.host, wanted)
        self.network.store.put("meta", "port", self._port)
        for crn in self.network.crns:
            await self._serve(crn)
        self._ticker = asyncio.create_task(self._tick_forever())
        facts = self.facts()
        write_atomically(options.folder / "devnet.json", json.dumps(facts, indent=2) + "\n")
        return facts

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve until told to stop; a ticker that fails ends the network too, with its error."""
        assert self._ticker is not None
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({self._ticker, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def stop(self) -> None:
        """Close every socket at once."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        for runner in self._runners.values():
            await runner.cleanup()
        await self.network.close()

    def facts(self) -> dict[str, Any]:
        """The ready line."""
        net, api = self.network, f"http://{self.network.options.host}:{self._port}"
        now = net.clock.now()
        return {
            "api_host": api,
            "crn_list_url": api + LIST_PATH,
            "aggregate_address": net.accounts["network"].address,
            "accounts": [
                {
                    "role": account.role,
                    "address": account.address,
                    "key_file": str(account.key_file),
                    "credits": net.chain.ledger.balance(account.address, now),
                }
                for account in net.accounts.values()
            ],
            "crns": [{"hash": crn.node.hash, "name": crn.node.name, "url": crn.node.url} for crn in net.crns],
            "clock_file": str(net.options.folder / "clock"),
            "pid": os.getpid(),
        }

    async def set_down(self, crn: Crn, *, down: bool) -> None:
        """Take a CRN off the network or back on; its VMs stay as they are."""
        if down == (not crn.up):
            return
        crn.up = not down
        crn.down_since = self.network.clock.now() if down else None
        if down:
            await self._runners.pop(crn.node.hash).cleanup()
        else:
            crn.resume()
            await self._serve(crn)
        self.network.note_outages()

    async def _serve(self, crn: Crn) -> None:
        node = crn.node
        port = await self._listen(node.hash, self._crn_app(crn), node.host, [node.port])
        if port != node.port:
            node.port = port
            save_node(self.network.store, node)

    async def _listen(self, name: str, app: web.Application, host: str, ports: list[int]) -> int:
        """Listen on the first of the ports that is free."""
        # aiohttp takes 0 for "wait for ever".
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.05)
        await runner.setup()
        self._runners[name] = runner
        for n, port in enumerate(ports, 1):
            try:
                await web.TCPSite(runner, host, port, reuse_address=True).start()
                break
            except OSError:
                if n == len(ports):
                    raise
        return int(runner.addresses[0][1])

    def _app(self, node_of: Any, now: Any) -> web.Application:
        app = web.Application(
            middlewares=[self.network.faults.middleware(node_of, self.network.clock.now)],
            client_max_size=MAX_BODY,
        )

        async def tell_time(_request: web.Request, response: web.StreamResponse) -> None:
            response.headers["Date"] = http_date(now())

        app.on_response_prepare.append(tell_time)
        return app

    def _ccn_app(self) -> web.Application:
        net = self.network
        app = self._app(lambda request: "crn_list" if request.path == LIST_PATH else "ccn", net.clock.now)
        CcnRoutes(net.chain, net.clock).add_to(app)
        MoneyRoutes(net.chain, net.clock).add_to(app)
        WatchRoutes(net.chain).add_to(app)
        ControlRoutes(net).add_to(app)
        app.router.add_get(LIST_PATH, self._list)
        return app

    def _crn_app(self, crn: Crn) -> web.Application:
        clock = self.network.clock
        app = self._app(lambda _request: crn.node.hash, lambda: clock.now() + crn.clock_skew_s)
        CrnRoutes(crn, clock).add_to(app)
        return app

    async def _list(self, request: web.Request) -> web.Response:
        inactive = request.query.get("filter_inactive", "false").lower() == "true"
        net = self.network
        return web.json_response(crn_list.document(net.crns, net.clock.now(), filter_inactive=inactive))

    async def _tick_forever(self) -> None:
        while True:
            await self.network.tick()
            await asyncio.sleep(self.network.options.tick_s)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that no reader ever sees half of it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
