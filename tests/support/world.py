"""The daemon's services over the network in memory, a clock that stands still, and the real inventory."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aleph_agentd.adapters.start_counter import StartFile
from aleph_agentd.adapters.store import SqlInventory, sqlite_url
from aleph_agentd.domain.caller import Caller, Peer
from aleph_agentd.domain.limits import Limits
from aleph_agentd.domain.model import Vm, VmState
from aleph_agentd.joining import Given, Ports, witnessed
from aleph_agentd.joining import join as join_services
from aleph_agentd.services.auditor import Auditor
from aleph_agentd.services.core import Services
from aleph_agentd.services.provisioner import Order
from aleph_agentd.services.quotes import CreateRequest
from support.anchors import MemoryAnchors
from support.clock import ManualClock, ManualTimers
from support.fake_guests import FakeGuests
from support.fake_network import FakeNetwork

HOME = "installation-1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtT6fOWe4wqZpVvMJ0sKxkC9bBKfyoGJkTtC4e6wqXX"
LIMITS = Limits(max_daily_spend_units=None, human_approval_threshold_units=None)
ALICE = Caller("alice", Peer(1000, 4242), project="/home/you/alice", client="pytest")
BOB = Caller("bob", Peer(1000, 4243), project="/home/you/bob", client="pytest")
HUMAN = Caller("human", Peer(1000, 1, human=True))


class First(random.Random):
    """Dice that always take the best."""

    def choice(self, seq: Any) -> Any:
        """The first one."""
        return seq[0]


@dataclass
class World:
    """One life of the daemon, and everything around it."""

    clock: ManualClock
    network: FakeNetwork
    timers: ManualTimers
    inventory: SqlInventory
    services: Services
    guests: FakeGuests

    async def plan(self, caller: Caller = ALICE, **request: Any) -> Any:
        """A priced plan for a small VM."""
        return await self.services.planner.plan(a_request(**request), caller, confirmed=False)

    async def order(self, caller: Caller = ALICE, key: str | None = None, **request: Any) -> Order:
        """Start a create, past its admission."""
        plan = await self.plan(caller, **request)
        return await self.services.provisioner.create(plan, caller, key, "arguments")

    async def create(self, caller: Caller = ALICE, key: str | None = None, **request: Any) -> Vm:
        """A create, to its end."""
        order = await self.order(caller, key, **request)
        return await self.services.provisioner.wait(order.create_id, 60)

    async def end(self, vm: Vm, passes: int = 1) -> Vm:
        """Order a teardown and run passes, each at the time that the row asks for."""
        await self.services.teardown.order(vm.item_hash, "the test ends it")
        return await self.passes(vm, passes)

    async def passes(self, vm: Vm, count: int = 1) -> Vm:
        """Run passes of the teardown, moving the clock to each next attempt."""
        row = await self.row(vm)
        for _ in range(count):
            if row.next_attempt_at and row.next_attempt_at > self.clock.now():
                self.clock.forward(seconds=(row.next_attempt_at - self.clock.now()).total_seconds())
            await self.services.teardown.run(vm.item_hash)
            row = await self.row(vm)
        return row

    async def row(self, vm: Vm) -> Vm:
        """The row as it is now."""
        row = await self.inventory.get(vm.item_hash)
        assert row is not None
        return row

    async def rows(self, *states: VmState) -> list[Vm]:
        """All rows, oldest first."""
        return list(reversed(await self.inventory.page(states=states or tuple(VmState), limit=100)))

    def tick_at(self, method: str) -> None:
        """Let a moment pass at each call of a method, so that one thing is after the other."""

        async def tick(_: str) -> None:
            self.clock.forward(milliseconds=1)

        self.network.before(method, tick)

    async def quiet(self) -> None:
        """Wait until no job runs, however each of them ends."""
        while tasks := list(self.services.jobs._tasks.values()):
            await asyncio.wait(tasks, timeout=30)

    async def money(self, vm: Vm) -> tuple[int, int]:
        """`(reserved, spent)`."""
        return (await self.inventory.balances([vm.item_hash]))[vm.item_hash]


def a_request(**fields: Any) -> CreateRequest:
    """A small VM for four hours."""
    facts: dict[str, Any] = {"name": "box", "ttl_hours": 4.0, "os_image": "ubuntu22", "ssh_pubkey": KEY}
    return CreateRequest(**(facts | fields))


def join(
    network: FakeNetwork,
    inventory: SqlInventory,
    timers: ManualTimers,
    clock: ManualClock,
    limits: Limits,
    database: Path,
    human: str = "",
) -> Services:
    """The services over the fakes, as app.py joins them over the adapters."""
    given = Given(
        limits=limits,
        human_address=human,
        installation=HOME,
        counter=StartFile(database),
        orphan_grace_s=900,
        default_os_image="ubuntu22",
        ssh_pubkey=KEY,
        ssh_pubkey_trouble="",
        network="fake",
        dice=First(),
        saved_dir=database.parent / "saved",
    )
    auditor = Auditor(inventory, MemoryAnchors(), clock)
    ports = witnessed(Ports(network, network, network, network), auditor)
    return join_services(given, inventory, ports, timers, clock, auditor)


class Machine:
    """A disk, a clock and a network on which daemons live one after another."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.database = directory, directory / "inventory.db"
        self.clock = ManualClock()
        self.network, self.guests = FakeNetwork(self.clock), FakeGuests()
        self.limits = LIMITS
        self.human = ""
        """Who pays, in delegated mode."""

    @asynccontextmanager
    async def life(self, **limits: Any) -> AsyncIterator[World]:
        """One life of the daemon; its end cancels what runs, as SIGKILL would, and keeps what is on disk."""
        self.limits = replace(self.limits, **limits)
        inventory = await SqlInventory.open(sqlite_url(self.database))
        timers = ManualTimers()
        services = join(self.network, inventory, timers, self.clock, self.limits, self.database, self.human)
        services.inside.guests = services.setup.inside.guests = services.provisioner.guests = self.guests
        services.idleness.inside.guests = services.saver.inside.guests = self.guests
        await services.freezes.load()
        try:
            await services.restoration.begin_life()
            yield World(self.clock, self.network, timers, inventory, services, self.guests)
        finally:
            await services.jobs.drain(0)
            await inventory.close()


async def until(true: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for something that the loop is about to do."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)
