"""A daemon that lives, dies and is started again in simulated time, and everything that it must never do."""

import asyncio
import random
import secrets
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from aleph_agentd.adapters.store import SqlInventory, sqlite_url
from aleph_agentd.domain.caller import Caller
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.limits import Limits
from aleph_agentd.domain.model import LEASED, TOMBSTONES, Vm, VmState
from aleph_agentd.services import publisher, reaper
from aleph_agentd.services.core import Services
from aleph_agentd.tools.toolbox import Toolbox
from support.simulated_network import SimulatedNetwork
from support.simulation import SimulatedClock, SimulatedLoop, SimulatedTimers
from support.world import join

LIMITS = Limits(
    max_concurrent_vms=3,
    max_daily_spend_units=1_200_000,
    max_session_spend_units=900_000,
    human_approval_threshold_units=None,
    balance_guard_percent=100,
    cost_threshold_units=10**12,
)
SWEEP_S = 300
LATE = timedelta(seconds=1)
"""Promise 2."""
AFTER_SLEEP_S = reaper.INTERVAL_S + 1
_ALL = tuple(VmState)


@dataclass
class Life:
    """One process."""

    inventory: SqlInventory
    services: Services
    timers: SimulatedTimers
    toolbox: Toolbox


@dataclass
class Known:
    """What the test knows of a VM, from the outside."""

    vm: Vm
    """As its row was last seen."""
    latest_end: datetime
    ending: bool = False
    """Teardown was seen to have begun: there is no way back."""


@dataclass
class Outside:
    """What happened to VMs without the daemon's doing."""

    revived: set[str] = field(default_factory=set)
    """The network took them up again after it had given them up."""
    ended: set[str] = field(default_factory=set)
    """Somebody or something else ended them, or had them refused."""
    unlisted: set[str] = field(default_factory=set)
    """They were there when the inventory was lost."""


class Estate:
    """A disk, a clock, a network, and at most one daemon."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.loop = SimulatedLoop()
        self.clock = SimulatedClock(self.loop)
        self.network = SimulatedNetwork(self.loop, self.clock)
        self.network.watch = self._watch
        self.life: Life | None = None
        self.known: dict[str, Known] = {}
        self.outside = Outside()
        self.destroyed: set[str] = set()
        """VMs whose end was ordered by a tool."""
        self.published: dict[str, datetime] = {}
        """Ends of leases that the daemon said are published."""
        self.broken: list[str] = []
        """Promises that were broken, in words."""
        self._numbers = iter(range(10**9))

    # ------------------------------------------------------------------ living and dying

    def start(self) -> None:
        """As app.py does: what is due first, then what was left open."""
        with self._reproducible():
            self.life = self.loop.run_until_complete(self._open())
        self.loop.run_until_complete(self._nothing_is_lost())
        self._task(self._live(self.life))
        self.pass_time(0)

    async def _open(self) -> Life:
        inventory = await SqlInventory.open(sqlite_url(self._directory / "inventory.db"))
        timers = SimulatedTimers(self.loop, self.clock)
        services = join(self.network, inventory, timers, self.clock, LIMITS)  # type: ignore[arg-type]
        services.teardown._dice = random.Random(1)
        self._watch_money(inventory)
        return Life(inventory, services, timers, Toolbox(services))

    async def _live(self, life: Life) -> None:
        services, timers = life.services, life.timers
        life.inventory.on_change = services.reaper.changed
        timers.every("reap", reaper.INTERVAL_S, services.reaper.run)
        timers.every("sweep", SWEEP_S, services.sweeper.run)
        timers.every("publish", publisher.INTERVAL_S, services.publisher.run)
        await services.reaper.recover()
        await services.provisioner.recover()
        await services.sweeper.run()
        await services.publisher.run()

    def crash(self) -> None:
        """SIGKILL, wherever it is."""
        if self.life is None:
            return
        self.life.timers.stop()
        self.loop.kill()
        self.life.inventory._worker.shutdown()
        self.life.inventory._engine.dispose()
        self.life = None

    def lose_inventory(self) -> None:
        """Somebody deletes the database of a dead daemon."""
        for path in self._directory.glob("inventory.db*"):
            path.unlink()
        self.outside.unlisted |= set(self.network.ours()) | {m.item_hash for m in self.network.in_transit()}
        self.known.clear()

    def close(self) -> None:
        """The test is over."""
        self.crash()
        self.loop.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    # ------------------------------------------------------------------ what happens

    def pass_time(self, seconds: float) -> None:
        """Let the daemon do what it wants to do within this time."""
        with self._reproducible():
            self.loop.run_until_complete(asyncio.sleep(seconds))

    def sleep(self, **delta: float) -> None:
        """Suspend to memory, and what follows the resume."""
        self.clock.leap(**delta)
        if self.life:
            self.pass_time(AFTER_SLEEP_S)

    def call(self, tool: str, caller: Caller, key: str | None = None, **arguments: Any) -> None:
        """An agent calls a tool, which starts the daemon if none runs; the answer is awaited in the background."""
        if self.life is None:
            self.start()
        assert self.life is not None
        self._task(self._call(self.life.toolbox, tool, caller, key, arguments))

    async def _call(
        self, toolbox: Toolbox, tool: str, caller: Caller, key: str | None, arguments: Any
    ) -> None:
        try:
            answer = await toolbox.call(tool, arguments, caller=caller, request_key=key)
        except Refusal:
            return
        if tool == "aleph_extend_vm" and not answer["warnings"]:
            end = datetime.fromisoformat(answer["new_ttl_expires_at"])
            self.published[answer["item_hash"]] = max(end, self.published.get(answer["item_hash"], end))

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()):
            self.broken.append(f"raised {error!r}")

    def _reproducible(self) -> Any:
        """Random ids that are the same again when a failure is reproduced."""
        return patch.object(secrets, "token_hex", lambda size=32: f"{next(self._numbers):0{2 * size}x}")

    def rows(self) -> list[Vm]:
        """All rows, oldest first; none while no daemon lives."""
        if self.life is None:
            return []
        found = self.loop.run_until_complete(self.life.inventory.page(states=_ALL, limit=1000))
        return list(reversed(found))

    # ------------------------------------------------------------------ what must hold at each moment

    async def _watch(self, call: str, item_hash: str) -> None:
        """Before anything leaves: an INSTANCE has its row; nothing that ends or is over is notified."""
        assert self.life is not None
        row = await self.life.inventory.get(item_hash)
        if call == "post":
            created = await self.life.inventory.create_message(item_hash)
            if created and (row is None or row.broadcast_at is None):
                self.broken.append(f"{item_hash[:8]} left before its row said so")
        elif row is None or (row.state not in LEASED and row.destroy_at != self.clock.now()):
            self.broken.append(f"{item_hash[:8]} was notified while {row and row.state}")

    def _watch_money(self, inventory: SqlInventory) -> None:
        """After each admission everything that is bound fits the limits."""
        admit, extend = inventory.admit, inventory.extend

        async def admit_and_look(intent: Any, *rest: Any) -> Vm:
            vm = await admit(intent, *rest)
            await self._fits(inventory, vm.session)
            live = [row for row in await inventory.page(states=_ALL, limit=1000) if row.billing]
            if len(live) > LIMITS.max_concurrent_vms:
                self.broken.append(f"{len(live)} VMs are live at once")
            return vm

        async def extend_and_look(*args: Any, **rest: Any) -> Vm:
            vm = await extend(*args, **rest)
            await self._fits(inventory, args[5])
            return vm

        inventory.admit, inventory.extend = admit_and_look, extend_and_look  # type: ignore[assignment,method-assign]

    async def _fits(self, inventory: SqlInventory, session: str) -> None:
        moved, day = await inventory.ledger(100_000), self.clock.now() - timedelta(hours=24)
        bound = sum(m.units for m in moved if m.account == "reserved")
        spent = sum(m.units for m in moved if m.account == "spent" and m.at > day)
        of_session = sum(m.units for m in moved if m.session == session)
        if bound + spent > (LIMITS.max_daily_spend_units or 0):
            self.broken.append(f"{bound} + {spent} units are bound and spent in a day")
        if of_session > (LIMITS.max_session_spend_units or 0):
            self.broken.append(f"{session} has bound and spent {of_session} units")

    async def _nothing_is_lost(self) -> None:
        """Promise 1: what the network ever took in has a row; after a loss, what it lists has one soon."""
        assert self.life is not None
        sent = set(self.network.ours()) - self.outside.unlisted
        rows = await self.life.inventory.known(sorted(sent))
        self.broken += [f"{item[:8]} has no row" for item in sorted(sent - set(rows))]

    def check(self) -> None:
        """All that must hold between any two steps."""
        if self.life:
            self.loop.run_until_complete(self._check(self.life))
        self._fail()

    def _fail(self) -> None:
        if self.broken:
            raise AssertionError("; ".join(self.broken))

    async def _check(self, life: Life) -> None:
        rows = list(reversed(await life.inventory.page(states=_ALL, limit=1000)))
        self.broken += [f"a timer raised {error!r}" for error in life.timers.errors]
        await self._nothing_is_lost()
        self._none_twice(rows)
        money = await life.inventory.balances([vm.item_hash for vm in rows])
        for vm in rows:
            self.broken += [
                f"{vm.name} {vm.item_hash[:8]} {why}" for why in self._wrong(vm, money[vm.item_hash])
            ]
            self._remember(vm)

    def _none_twice(self, rows: list[Vm]) -> None:
        """One create never has two billed VMs at once."""
        billed = set(self.network.billed()) - self.outside.revived
        creates = [vm.create_id for vm in rows if vm.item_hash in billed]
        self.broken += [
            f"{one} has two billed VMs" for one in sorted({c for c in creates if creates.count(c) > 1})
        ]

    def _remember(self, vm: Vm) -> None:
        known = self.known.setdefault(vm.item_hash, Known(vm, vm.expires_at))
        known.vm, known.latest_end = vm, max(known.latest_end, vm.expires_at)
        known.ending |= vm.state not in LEASED

    def _wrong(self, vm: Vm, money: tuple[int, int]) -> list[str]:
        """Every promise that is broken for this VM."""
        now, item, network = self.clock.now(), vm.item_hash, self.network
        known = self.known.get(item, Known(vm, vm.expires_at))
        billed = network.statuses.get(item, None) and network.statuses[item].on_network
        spent_at_least = int(vm.rate * int(network.statuses.billed_seconds(item)))
        known_since = max(vm.expires_at, vm.running_at or vm.expires_at)  # it may have been taken in late
        # A second life that somebody else ended before a sweep saw it is on no bill of ours.
        seen = item not in self.outside.revived & self.outside.ended | self.outside.unlisted
        due = vm.state in LEASED and known_since + LATE < now
        early = (
            known.vm.state is VmState.RUNNING and vm.state not in LEASED and not self._may_end(known.vm, vm)
        )
        return [
            why
            for why, broken in {
                f"is still {vm.state} {now - vm.expires_at} after its lease": due,
                f"was {known.vm.state} and ended without a reason: {vm.cause}": early,
                f"ends earlier than before, at {vm.expires_at}": vm.expires_at < known.latest_end,
                f"is {vm.state} although its teardown had begun": known.ending and vm.state in LEASED,
                f"is {vm.state} while the network bills it": vm.state in TOMBSTONES
                and billed
                and item not in self.outside.revived,
                f"has {money[0]} units reserved after its end": not vm.billing and money[0] != 0,
                f"cost {spent_at_least} units and {money[1]} are booked": not vm.billing
                and not billed
                and money[1] < spent_at_least
                and seen,
            }.items()
            if broken
        ]

    def _may_end(self, before: Vm, vm: Vm) -> bool:
        by_lease = vm.destroy_at is not None and vm.destroy_at >= before.expires_at
        return by_lease or vm.item_hash in self.destroyed | self.outside.ended

    # ------------------------------------------------------------------ at rest

    def rest(self, *, hours: float = 3) -> None:
        """Everything that is wrong outside is over, and the daemon has had the time to put all right."""
        self.network.heals()
        self.network.credits[self.network.key_address] = 10**9
        if self.life is None:
            self.start()
        for _ in range(int(hours * 60)):
            self.pass_time(60)
            self._let_the_human_decide()
            self.check()
            if not (left := self._unrest()):
                return
        findings = self.life and self.life.services.sweeper.findings
        raise AssertionError(f"not at rest after {hours} hours: {'; '.join(left)}; {findings}")

    def _let_the_human_decide(self) -> None:
        assert self.life is not None
        if self.life.services.sweeper.findings.halted:
            self.loop.run_until_complete(self.life.services.sweeper.run_anyway())

    def _unrest(self) -> list[str]:
        """What is not settled yet between the network, its CRNs and the inventory."""
        rows, network, outside = {vm.item_hash: vm for vm in self.rows()}, self.network, self.outside
        billed, runs = (
            set(network.billed()) & set(network.ours()),
            {vm for pool in network.pools.values() for vm in pool},
        )
        leased = {item for item, vm in rows.items() if vm.state in LEASED}
        open_ = {item for item, vm in rows.items() if vm.state not in {VmState.RUNNING, *TOMBSTONES}}
        unseen = {item for item, vm in rows.items() if vm.state is VmState.GONE and vm.verified_at is None}
        early = {
            item for item, end in self.published.items() if item in leased and rows[item].expires_at < end
        }
        found = {
            "is billed without a live row": billed - leased,
            # A listing of nothing while there are live rows says nothing: they end with their leases.
            "has a live row and is not on the network": leased - billed if billed else set(),
            "is neither running nor over": open_,
            "was not looked up again": unseen,
            "runs on a CRN without being billed": runs - billed - leased - (outside.unlisted - set(rows)),
            "lost an extension that was published": early,
        }
        return [f"{item[:8]} {why}" for why, items in found.items() for item in sorted(items)]

    def end(self) -> None:
        """After the last lease nothing is left, and everything is paid for."""
        self.rest()
        last = max((vm.expires_at for vm in self.rows()), default=self.clock.now())
        self.sleep(seconds=max(0.0, (last - self.clock.now()).total_seconds()) + 1)
        self.rest()
        if left := [vm.name for vm in self.rows() if vm.state not in TOMBSTONES]:
            raise AssertionError(f"live after their leases: {left}")
