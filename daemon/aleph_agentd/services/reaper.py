"""Ends what is due. The table is the truth; the alarm only makes it punctual."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from ..domain.clock import Clock
from ..domain.model import LEASED, Vm, VmState
from ..ports import Inventory, Timers
from .teardown import Teardown

log = logging.getLogger(__name__)

INTERVAL_S = 15
"""A lost alarm costs at most this; and timers do not run during suspend."""
_BATCH = 1000
_PACE = timedelta(seconds=1)
"""Rows that are due and being worked on must not make the alarm spin."""


class Reaper:
    """One pass: order the teardown of every due lease, then start what is to be torn down."""

    def __init__(self, inventory: Inventory, teardown: Teardown, timers: Timers, clock: Clock) -> None:
        self._inventory, self._teardown, self._timers, self._clock = inventory, teardown, timers, clock
        self._turn = asyncio.Lock()
        self._arming = False
        self.spares: Callable[[], bool] = lambda: False
        """Whether no row is to be relied on yet: its lease may have been extended since (rules.md 7)."""

    async def recover(self) -> None:
        """After a start: what is due, then what was being torn down, at once, whatever its backoff said."""
        await self.run()
        for vm in await self._inventory.page(states=[VmState.DESTROYING], limit=_BATCH):
            self._teardown.start(vm)

    async def run(self, *, until: datetime | None = None) -> None:
        """One pass, then the alarm for the next deadline. `until`: what is due by then counts as due."""
        async with self._turn:
            due = await self._inventory.due(until or self._clock.now(), _BATCH)
            for vm in due:
                await self._reap(vm)
            await self._teardown.catch_up()
        await self.arm()

    async def _reap(self, vm: Vm) -> None:
        if vm.state in LEASED and self.spares():
            return
        if vm.state in LEASED:
            vm = await self._teardown.order(vm.item_hash, "its lease ended", lease_version=vm.lease_version)
            if vm.state in LEASED:  # extended in between
                return
        self._teardown.start(vm)

    async def arm(self) -> None:
        """Set the alarm to the next deadline; what is overdue is looked at again in a second."""
        at = await self._inventory.next_due_at()
        if at is not None:
            at = max(at, self._clock.now() + _PACE) if at <= self._clock.now() else at
        self._timers.at("next deadline", at, self.run)

    def changed(self) -> None:
        """The inventory changed: move the alarm, once for many changes."""
        if self._arming:
            return
        self._arming = True
        task = asyncio.get_running_loop().create_task(self._arm_soon(), name="arm")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _arm_soon(self) -> None:
        self._arming = False
        await self.arm()
