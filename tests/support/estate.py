"""A daemon that lives, dies and is started again in simulated time, with its promises looked after."""

import asyncio
import random
import secrets
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from aleph_agentd.adapters.store import SqlInventory, sqlite_url
from aleph_agentd.domain.caller import Caller
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.model import LEASED, TOMBSTONES, Vm, VmState
from aleph_agentd.services import approvals, publisher, reaper, retention, runway
from aleph_agentd.services.core import Services
from aleph_agentd.services.erasure import PROBE_S
from aleph_agentd.services.expenses import REPRICE_S
from aleph_agentd.services.freezes import OWNER
from aleph_agentd.services.restoration import COUNT_S
from aleph_agentd.tools.toolbox import Toolbox
from support.promises import LIMITS, Promises
from support.simulated_network import Interruption, SimulatedNetwork
from support.simulation import SimulatedClock, SimulatedLoop, SimulatedTimers
from support.world import join

SWEEP_S = 300
AFTER_SLEEP_S = reaper.INTERVAL_S + 1


@dataclass
class Life:
    """One process."""

    inventory: SqlInventory
    services: Services
    timers: SimulatedTimers
    toolbox: Toolbox


class Estate:
    """A disk, a clock, a network, and at most one daemon."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.loop = SimulatedLoop()
        self.clock = SimulatedClock(self.loop)
        self.network = SimulatedNetwork(self.loop, self.clock)
        self.promises = Promises(self.network, self.clock)
        self.network.watch = self.promises.watch
        self.life: Life | None = None
        self._numbers = iter(range(10**9))

    # ------------------------------------------------------------------ living and dying

    def start(self) -> None:
        """As app.py does: what is due first, then what was left open."""
        with self._reproducible():
            self.life = self.loop.run_until_complete(self._open())
        self.loop.run_until_complete(self.promises.nothing_is_lost())
        self._task(self._live(self.life))
        self.pass_time(0)

    async def _open(self) -> Life:
        inventory = await SqlInventory.open(sqlite_url(self._directory / "inventory.db"))
        timers = SimulatedTimers(self.loop, self.clock)
        services = join(  # type: ignore[arg-type]
            self.network, inventory, timers, self.clock, LIMITS, self._directory / "inventory.db"
        )
        services.teardown._dice = random.Random(1)
        # As in app.py, where a create waits for the key, and that for what is frozen and whether rows were lost.
        services.provisioner.ready = services.restoration.looked
        self.promises.begin(inventory, services.restoration)
        return Life(inventory, services, timers, Toolbox(services))

    async def _live(self, life: Life) -> None:
        services, timers = life.services, life.timers
        life.inventory.on_change = services.reaper.changed
        timers.every("reap", reaper.INTERVAL_S, services.reaper.run)
        timers.every("sweep", SWEEP_S, services.sweeper.run)
        timers.every("publish", publisher.INTERVAL_S, services.publisher.run)
        timers.every("expenses", SWEEP_S, services.expenses.run)
        timers.every("reprice", REPRICE_S, services.expenses.reprice)
        timers.every("runway", runway.INTERVAL_S, services.runway.run)
        timers.every("approvals", approvals.INTERVAL_S, services.approvals.expire)
        timers.every("silent hosts", PROBE_S, services.teardown.probe_hosts)
        timers.every("count", COUNT_S, services.restoration.count_on)
        timers.every("retention", retention.INTERVAL_S, services.retention.run)
        await services.freezes.load()
        await services.restoration.begin_life()
        await services.reaper.recover()
        await services.approvals.load()
        services.panic.resume()
        await services.provisioner.recover()
        await services.approvals.recover()
        await services.sweeper.run()
        await services.publisher.run()
        services.jobs.start("retention", services.retention.run)

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
        sent = {message.item_hash for message in self.network.in_transit()}
        self.promises.outside.unlisted |= set(self.network.ours()) | sent
        self.promises.known.clear()

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
            end, published = datetime.fromisoformat(answer["new_ttl_expires_at"]), self.promises.published
            published[answer["item_hash"]] = max(end, published.get(answer["item_hash"], end))

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()):
            self.promises.broken.append(f"raised {error!r}")

    def _reproducible(self) -> Any:
        """Random ids that are the same again when a failure is reproduced."""
        return patch.object(secrets, "token_hex", lambda size=32: f"{next(self._numbers):0{2 * size}x}")

    def check(self) -> None:
        """Raises when a promise is broken."""
        if self.life:
            self.promises.broken += [f"a timer raised {error!r}" for error in self.life.timers.errors]
            self.loop.run_until_complete(self.promises.check())
        if self.promises.broken:
            raise AssertionError("; ".join(self.promises.broken))

    def rows(self) -> list[Vm]:
        """All rows, oldest first; none while no daemon lives."""
        if self.life is None:
            return []
        found = self.loop.run_until_complete(self.life.inventory.page(states=tuple(VmState), limit=1000))
        return list(reversed(found))

    # ------------------------------------------------------------------ people

    def freeze(self) -> None:
        """The owner stops creates and extends."""
        if self.life:
            self.loop.run_until_complete(self.life.services.freezes.freeze("the test says so", OWNER))

    def panic(self) -> None:
        """The owner ends everything."""
        if self.life:
            self.promises.panicked = True
            self.loop.run_until_complete(self.life.services.panic.begin(OWNER))

    @property
    def frozen(self) -> bool:
        """Whether there is something to lift."""
        return self.life is not None and bool(self.life.services.freezes.alerts())

    def unfreeze(self) -> None:
        """The owner lifts whatever is frozen, once the daemon has read it."""
        if self.life:
            self.loop.run_until_complete(self.life.services.freezes.load())
            self.loop.run_until_complete(self.life.services.freezes.lift(OWNER))

    def interrupt(self, call: str, what: str, *, lost: bool, skip: int = 0) -> None:
        """At the next such call, in its middle, somebody orders something; and perhaps the call does not arrive."""
        self.network.interruption = Interruption(call, lambda item: self._meanwhile(what, item), lost, skip)

    async def _meanwhile(self, what: str, item_hash: str) -> None:
        assert self.life is not None
        services = self.life.services
        match what:
            case "freeze":
                await services.freezes.freeze("the test says so", OWNER)
            case "panic":
                self.promises.panicked = True
                await services.panic.begin(OWNER)
            case "destroy" if item_hash and await self.life.inventory.get(item_hash):
                self.promises.destroyed.add(item_hash)
                services.teardown.start(await services.teardown.order(item_hash, "destroyed by the test"))

    def wake_before_the_end(self, vm: Vm, seconds: float) -> None:
        """The machine was suspended, and goes on so long before the end of a lease: nothing is late yet."""
        if self.life is None:
            return
        left = (vm.expires_at - self.clock.now()).total_seconds() - seconds
        others = [row.expires_at for row in self.rows() if row.state in LEASED]
        if left > 0 and min(others) == vm.expires_at:
            self.clock.leap(seconds=left)
            with self._reproducible():
                self.loop.run_until_complete(self.life.services.reaper.run())

    # ------------------------------------------------------------------ at rest

    def rest(self, *, hours: float = 3) -> None:
        """Everything that is wrong outside is over, and the daemon has had the time to put all right."""
        self.network.heals()
        self.network.credits[self.network.key_address] = 10**9
        if self.life is None:
            self.start()
        self.pass_time(1)
        self.unfreeze()
        for _ in range(int(hours * 60)):
            self.pass_time(60)
            self._let_the_human_decide()
            self.check()
            if not (left := self.loop.run_until_complete(self.promises.unrest())):
                return
        findings = self.life and self.life.services.sweeper.findings
        raise AssertionError(f"not at rest after {hours} hours: {'; '.join(left)}; {findings}")

    def _let_the_human_decide(self) -> None:
        assert self.life is not None
        if self.life.services.sweeper.findings.halted:
            self.loop.run_until_complete(self.life.services.sweeper.run_anyway())

    def end(self) -> None:
        """After the last lease nothing is left, and everything is paid for."""
        self.rest()
        last = max((vm.expires_at for vm in self.rows()), default=self.clock.now())
        self.sleep(seconds=max(0.0, (last - self.clock.now()).total_seconds()) + 1)
        self.rest()
        if left := [vm.name for vm in self.rows() if vm.state not in TOMBSTONES]:
            raise AssertionError(f"live after their leases: {left}")
