"""Looks at the clocks: resume from suspend, a wall clock that was set, and whom to believe then."""

import asyncio
import logging

from ..domain.clock import iso
from ..domain.errors import Unavailable
from ..domain.model import LEASED
from ..domain.timeline import Doubt
from ..ports import Inventory, Messages, NetworkTrouble, Timers
from ..ports.clock import MachineClock
from .jobs import Jobs
from .reaper import Reaper

log = logging.getLogger(__name__)

TICK_S = 15.0
"""Timers stand still during suspend: never sleep longer than this."""
_SLEPT_S = 5.0
_SET_S = 5.0
_MASS = 1000


class Timekeeper:
    """After a resume or a jump the reaper runs first, then every alarm is set anew.

    More than one lease that is due only by a jump waits until a CCN's clock agrees, at most an hour.
    """

    def __init__(
        self,
        clock: MachineClock,
        inventory: Inventory,
        messages: Messages,
        reaper: Reaper,
        timers: Timers,
        jobs: Jobs,
    ) -> None:
        self._clock, self._inventory, self._messages = clock, inventory, messages
        self._reaper, self._timers, self._jobs = reaper, timers, jobs
        self._asleep_s, self._offset_s = clock.asleep_s(), clock.wall_offset_s()
        self._reaped_by: float | None = None
        self.held = 0
        """How many leases wait for a second time source."""

    async def run(self) -> None:
        """For ever; what fails is logged by the jobs, and done again at the next tick."""
        while True:
            await asyncio.wait({self._jobs.start("clock", self.tick)})
            await asyncio.sleep(TICK_S)

    async def tick(self) -> None:
        """One look."""
        asleep_s, offset_s = self._clock.asleep_s(), self._clock.wall_offset_s()
        slept, was_set = asleep_s - self._asleep_s, offset_s - self._offset_s
        self._asleep_s, self._offset_s = asleep_s, offset_s
        if slept > _SLEPT_S or abs(was_set) > _SET_S:
            log.info("resumed after %.0f s of suspend; the wall clock was set by %+.0f s", slept, was_set)
            await self._reaper.run()
            self._timers.realign()
        if (doubt := self._clock.doubt) is not None:
            await self._weigh(doubt)
        await self._clock.save()

    def check(self) -> None:
        """Raises Unavailable while it is not known how late it is: a lease could not be measured."""
        if (doubt := self._clock.doubt) is not None:
            raise Unavailable(
                f"{_words(doubt, self._clock)}; until a second time source answers, nothing is created.",
                "Try again in a minute; if it stays so, tell the owner to look at the machine's clock.",
                code="clock_in_doubt",
            )

    def alerts(self) -> list[str]:
        """What is wrong with the clock, in words."""
        doubt = self._clock.doubt
        if doubt is None:
            return []
        return [
            f"{_words(doubt, self._clock)}; {self.held} leases that end by it wait for a second time source, at most an hour."
        ]

    async def _weigh(self, doubt: Doubt) -> None:
        now = self._clock.now()
        rows = await self._inventory.due(doubt.claimed, _MASS)
        by_jump = [vm for vm in rows if vm.state in LEASED and vm.expires_at > now]
        if len(by_jump) == 1 and self._reaped_by != doubt.since_s:
            # One is no mass: late by a wrong guess is dearer than early by one.
            self._reaped_by, self.held = doubt.since_s, 0
            await self._reaper.run(until=doubt.claimed)
        else:
            self.held = len(by_jump)
        try:
            network = await self._messages.network_time()
        except NetworkTrouble as trouble:
            network = None
            log.warning("%s; no second time source: %s", _words(doubt, self._clock), trouble)
        if self._clock.settle(network):
            self.held = 0
            await self._tell(doubt, by_network=network is not None)
            await self._reaper.run()
            self._timers.realign()

    async def _tell(self, doubt: Doubt, *, by_network: bool) -> None:
        now = self._clock.now()
        source = "a CCN's clock" if by_network else "nobody, for an hour,"
        text = f"the wall clock said {iso(doubt.claimed)}; by {source} it is taken to be {iso(now)}"
        log.warning("%s", text)
        await self._inventory.record("clock", "", text, now)


def _words(doubt: Doubt, clock: MachineClock) -> str:
    if doubt.behind:
        return "The machine's clock fell behind while it was off"
    return f"The machine's clock leapt from {iso(clock.now())} to {iso(doubt.claimed)}"
