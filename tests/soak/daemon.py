"""The daemon as app.py joins it, life after life on one disk: killed at any await, and started again."""

import asyncio
from contextlib import AsyncExitStack
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any

from aleph_agentd.adapters.aleph.network import open_network
from aleph_agentd.adapters.config import Settings
from aleph_agentd.adapters.store import SqlInventory, sqlite_url
from aleph_agentd.app import Daemon
from aleph_agentd.domain.caller import Caller, Peer
from aleph_agentd.domain.model import VmState
from aleph_agentd.opening import network_settings
from aleph_agentd.tools.toolbox import Toolbox
from aleph_devnet.app import Devnet
from soak.agents import Agents, AnswerLost
from soak.schedule import Schedule, Wish
from soak.virtual_time import LIFE, VirtualLoop

_MOST_ROWS = 1_000_000


def settings_for(facts: dict[str, Any], folder: Path) -> Settings:
    """Limits that never bind: what is tried here is not the policy. Health looks are left out."""
    funded = next(account for account in facts["accounts"] if account["role"] == "funded")
    return Settings(
        network="devnet",
        api_host=facts["api_host"],
        crn_list_url=facts["crn_list_url"],
        aggregate_address=facts["aggregate_address"],
        private_key_path=funded["key_file"],
        inventory_path=folder / "inventory.db",
        max_concurrent_vms=10_000,
        max_creates_per_hour=10_000,
        balance_guard_percent=100,
        max_daily_spend="off",
        human_approval_threshold="off",
        cost_threshold="1000000 cr",
        health_interval_s="off",
    )


class DaemonDesign:
    """Lives of the real daemon."""

    name = "aleph-agentd"

    def __init__(self, devnet: Devnet, schedule: Schedule, start: float, folder: Path) -> None:
        self._settings = settings_for(devnet.facts(), folder)
        self._loop = asyncio.get_running_loop()
        assert isinstance(self._loop, VirtualLoop)
        self._life = 0
        self._up = asyncio.Event()
        self._context = Context()
        self._stack = AsyncExitStack()
        self._toolbox: Toolbox
        self._inventory: SqlInventory
        self._agents = Agents(self, schedule.seed, start)
        self.counts = self._agents.counts

    async def begin(self) -> None:
        """The next life; returns when it answers."""
        self._life += 1
        self._context, self._stack = copy_context(), AsyncExitStack()
        self._context.run(LIFE.set, self._life)
        task = self._loop.create_task(self._live(), context=self._context)
        ready = self._loop.create_task(self._up.wait())
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done() and not task.cancelled():
            task.result()

    async def _live(self) -> None:
        settings, stack = self._settings, self._stack
        self._inventory = await SqlInventory.open(sqlite_url(settings.database_path))
        stack.push_async_callback(self._inventory.close)
        network = await stack.enter_async_context(open_network(network_settings(settings)))
        daemon = Daemon(settings, self._inventory, network)
        await daemon.services.freezes.load()
        self._toolbox = Toolbox(daemon.services)
        self._up.set()
        await daemon.live(stack)

    async def kill(self, down_s: float) -> None:
        """End it at whatever it waits for, and start it again."""
        if not self._up.is_set():
            return
        await self.end()
        await asyncio.sleep(down_s)
        await self.begin()

    async def end(self) -> None:
        """The end of the process; the kernel closes its files and sockets."""
        self._up.clear()
        await self._loop.kill(self._life)
        await self._stack.aclose()

    async def fulfil(self, wish: Wish) -> None:
        """One wish of an agent."""
        await self._agents.fulfil(wish)

    async def call(self, tool: str, arguments: dict[str, Any], session: int, key: str) -> dict[str, Any]:
        """See agents.Tools."""
        await self._up.wait()
        caller = Caller(f"session-{session}", Peer(1000, 4242), project="/soak", client="soak")
        call = self._toolbox.call(tool, arguments, caller=caller, request_key=key)
        work = self._loop.create_task(call, context=self._context.copy())
        await asyncio.wait({work})
        if work.cancelled():
            raise AnswerLost
        return work.result()

    async def rows(self) -> set[str]:
        """The hashes of every VM that the inventory knows."""
        if not self._up.is_set():
            await self.begin()
        return {vm.item_hash for vm in await self._inventory.page(states=tuple(VmState), limit=_MOST_ROWS)}
