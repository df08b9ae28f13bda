"""Ends VMs early that were made to end when they are idle. Never late: the end of the lease is the reaper's alone.

Only looks that saw a VM idle count, one after another; whatever else comes of a look, the count begins anew. It is
kept in memory: a restart can make an end later, never earlier.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from ..domain.activity import Streak, after
from ..domain.clock import Clock
from ..domain.errors import Refusal
from ..domain.model import LEASED, Vm, VmState
from ..domain.notices import ENDED_IDLE
from ..ports import Guests, Inventory, StoreTrouble
from .auditor import Auditor
from .inside import Inside
from .jobs import Jobs
from .shares import Shares
from .teardown import Teardown

log = logging.getLogger(__name__)

AT_ONCE, OF_SESSION = 8, 2
_MOST_SKIPPED = 8
"""Looks that a VM which does not answer is spared, so that it takes no turns from the others."""


class Idleness:
    """One pass every two minutes over the VMs that ask for it."""

    def __init__(
        self,
        inventory: Inventory,
        guests: Guests,
        teardown: Teardown,
        clock: Clock,
        jobs: Jobs,
        auditor: Auditor,
    ) -> None:
        self._jobs, self._tasks = jobs, set[asyncio.Task[None]]()
        self._inventory, self._teardown, self._clock, self._auditor = inventory, teardown, clock, auditor
        self.inside = Inside(guests, inventory)
        """Its own, so that looks take no caller's turn."""
        self._shares = Shares(AT_ONCE, OF_SESSION)
        self._streaks: dict[str, Streak] = {}
        self._silent: dict[str, tuple[int, int]] = {}
        """By hash: how many looks in a row had no answer, and how many are spared now."""
        self.spares: Callable[[], bool] = lambda: False
        """Whether no row is to be relied on yet (rules.md 7)."""
        self.before_end: Callable[[Vm], Awaitable[None]] = _nothing
        """What is done with an idle VM before it is ended; it is looked at once more after that."""
        self.monotonic: Callable[[], float] = time.monotonic

    async def run(self) -> None:
        """One pass: a look at each VM that nobody looks at yet. Nobody waits for those that hang."""
        try:
            rows = [] if self.spares() else await self._inventory.end_when_idle()
        except StoreTrouble as trouble:
            log.warning("no idle VM is looked for: %s", trouble)
            return
        living = {vm.item_hash for vm in rows}
        for gone in (self._streaks.keys() | self._silent.keys()) - living:
            self._forget(gone)
            self._silent.pop(gone, None)
        for vm in rows:
            name = f"idle:{vm.item_hash}"
            if self._jobs.running(name) is None and not self._spared(vm):
                task = self._jobs.start(name, partial(self._look, vm))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """The daemon ends, and waits for no look: its next life counts anew."""
        for task in self._tasks:
            task.cancel()

    def words(self, vm: Vm) -> str:
        """How long it has been idle, for people and agents; empty when it is not watched."""
        if not vm.idle_minutes or vm.state is not VmState.RUNNING:
            return ""
        streak = self._streaks.get(vm.item_hash)
        minutes = int(streak.span_s // 60) if streak else 0
        return f"idle for {minutes} min; destroyed at {vm.idle_minutes}"

    def _spared(self, vm: Vm) -> bool:
        silent, left = self._silent.get(vm.item_hash, (0, 0))
        if left:
            self._silent[vm.item_hash] = (silent, left - 1)
        return left > 0

    async def _look(self, vm: Vm) -> None:
        if not await self._is_idle(vm):
            self._forget(vm.item_hash)
            return
        streak = after(self._streaks.get(vm.item_hash), self.monotonic(), vm.lease_version)
        self._streaks[vm.item_hash] = streak
        if streak.span_s < vm.idle_minutes * 60:
            return
        try:
            await self._end(vm)
        except (Refusal, StoreTrouble) as trouble:
            log.warning("%s is idle, and stays until its lease ends: %s", vm.name, trouble)

    async def _is_idle(self, vm: Vm, *, after_saving: bool = False) -> bool:
        """Whether it says so itself; nonsense and silence are no yes. The load of saving is ours."""
        async with self._shares.turn(vm.session):
            try:
                seen = await self.inside.activity(vm)
            except (Refusal, StoreTrouble) as trouble:
                log.info("whether %s is idle is not known: %s", vm.item_hash, trouble)
                silent = self._silent.get(vm.item_hash, (0, 0))[0] + 1
                self._silent[vm.item_hash] = (silent, min(silent - 1, _MOST_SKIPPED))
                return False
        self._silent.pop(vm.item_hash, None)
        return not (seen.logins or seen.jobs) if after_saving else seen.idle

    def _forget(self, item_hash: str) -> None:
        self._streaks.pop(item_hash, None)

    async def _end(self, vm: Vm) -> None:
        if vm.save_paths:
            await self.before_end(vm)
            if not await self._is_idle(vm, after_saving=True):
                self._forget(vm.item_hash)
                return
        cause = f"idle for {vm.idle_minutes} min: no load, no login, no job"
        row = await self._teardown.order(vm.item_hash, cause, lease_version=vm.lease_version)
        self._forget(vm.item_hash)
        if row.state in LEASED or row.cause != cause:
            return  # it was extended, or somebody else ends it
        self._teardown.start(row)
        self._auditor.note("idle", cause, vm.item_hash)
        await self._inventory.record(ENDED_IDLE, vm.item_hash, f"{vm.name}: {cause}", self._clock.now())


async def _nothing(_: Vm) -> None:
    return
