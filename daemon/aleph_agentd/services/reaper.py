"""Ends what is due. The table is the truth; the alarm only makes it punctual."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ..domain.clock import Clock
from ..domain.leases import LEASE_ENDED
from ..domain.model import LEASED, Vm
from ..ports import Inventory, StoreTrouble, Timers
from .teardown import Teardown

log = logging.getLogger(__name__)

INTERVAL_S = 15
"""A lost alarm costs at most this; and timers do not run during suspend."""
_BATCH = 1000
_ORDERED = 100
"""Teardowns that one transaction orders: the first of them begin while the next ones are ordered."""
_PACE = timedelta(seconds=1)
"""Rows that are due and being worked on must not make the alarm spin."""


class Reaper:
    """One pass: order the teardown of every due lease, then start what is to be torn down."""

    def __init__(self, inventory: Inventory, teardown: Teardown, timers: Timers, clock: Clock) -> None:
        self._inventory, self._teardown, self._timers, self._clock = inventory, teardown, timers, clock
        self._turn = asyncio.Lock()
        self._looked_at = datetime.fromtimestamp(0, UTC)
        """When the last pass began: what was due by then is being worked on."""
        self._arming = False
        self.spares: Callable[[], bool] = lambda: False
        """Whether no row is to be relied on yet: its lease may have been extended since (rules.md 7)."""

    async def recover(self) -> None:
        """After a start: what is due, then what was being torn down, at once, whatever its backoff said."""
        try:
            await self._teardown.restart()
        except StoreTrouble as trouble:
            log.error("postponed teardowns stay postponed: %s", trouble)
        await self.run()

    async def run(self, *, until: datetime | None = None) -> None:
        """One pass, then the alarm for the next deadline. `until`: what is due by then counts as due."""
        async with self._turn:
            self._looked_at = self._clock.now()
            if not self.spares():
                await self._end_leases(until or self._clock.now())
            for vm in await self._inventory.due(self._clock.now(), _BATCH):
                if vm.state not in LEASED:
                    self._teardown.start(vm)
            await self._teardown.catch_up()
        await self.arm()

    async def _end_leases(self, by: datetime) -> None:
        """The leases before everything else, the dearest first."""
        try:
            while ended := await self._inventory.reap(by, self._clock.now(), _ORDERED):
                for vm in ended:
                    log.info("tearing down %s (%s): %s", vm.name, vm.item_hash[:12], vm.cause)
                    self._teardown.start(vm)
        except StoreTrouble as trouble:
            log.error("leases end unwritten: %s", trouble)
            await self._end_unwritten(by)

    async def _end_unwritten(self, by: datetime) -> None:
        """The inventory can be read only: each lease is ordered by itself, and remembered."""
        for vm in await self._inventory.due(by, _BATCH):
            if vm.state in LEASED:
                self._start(
                    await self._teardown.order(vm.item_hash, LEASE_ENDED, lease_version=vm.lease_version)
                )

    def _start(self, vm: Vm) -> None:
        if vm.state not in LEASED:  # else it was extended in between
            self._teardown.start(vm)

    async def arm(self) -> None:
        """Set the alarm to the next deadline; what the last pass has seen is looked at again in a second.

        It may be set hundreds of times in that second: none of them moves it, nor hides a deadline before it.
        """
        seen, at = self._looked_at, await self._inventory.next_due_at()
        if at is not None and at <= seen:
            again = seen + _PACE
            at = min(again, await self._inventory.next_due_at(seen) or again)
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
