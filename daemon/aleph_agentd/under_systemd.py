"""The composition root's talk with systemd: what it shows, what it waits for, and the reaper that it watches."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal

from .adapters import systemd
from .domain.clock import Clock, span
from .domain.money import UNITS_PER_CREDIT
from .ports import StoreTrouble
from .services.core import Services
from .services.reaper import INTERVAL_S
from .services.treasury import Overview

log = logging.getLogger(__name__)

QUIET_S = 1.0
"""Many changes of the inventory are one new line."""
ASK_EVERY_S, EACH_TIME_S = 1.0, 10.0
"""During a drain this much more time is asked for, this often: a daemon that hangs is killed soon."""


class UnderSystemd:
    """Tells systemd of one daemon's life; without systemd it tells nobody, and does the same."""

    def __init__(self, services: Services, clock: Clock) -> None:
        self._services, self._clock = services, clock
        self._due: asyncio.TimerHandle | None = None
        self._ending = False
        allowed = systemd.watchdog_interval_s()
        self.reap_every_s: float = min(INTERVAL_S, allowed or INTERVAL_S)
        """How often the reaper is to pass, so that the watchdog is fed in time."""

    async def reap(self) -> None:
        """One pass of the reaper; only its end feeds the watchdog, so that a reaper that hangs is a dead daemon."""
        try:
            await self._services.reaper.run()
        finally:  # one that failed is told in the log, and tries again
            systemd.watchdog()

    async def show(self) -> None:
        """The line of `systemctl status`, now."""
        try:
            overview = await self._services.treasury.overview("")
        except StoreTrouble as trouble:
            systemd.status(f"the inventory cannot be read: {trouble}")
            return
        systemd.status(", ".join(self._words(overview)))

    def changed(self) -> None:
        """The inventory changed: a new line, soon."""
        if self._due is None and systemd.is_there() and not self._ending:
            self._due = asyncio.get_running_loop().call_later(QUIET_S, self._show_soon)

    def _show_soon(self) -> None:
        self._due = None
        self._services.jobs.start("status", self.show)

    def _words(self, overview: Overview) -> Iterable[str]:
        """`3 VMs, next end in 12 min, 41.2 of 1000 credits today`, and what the owner should look into."""
        exposure, limits = overview.exposure, self._services.treasury.limits
        yield f"{exposure.live_vms} VM{'' if exposure.live_vms == 1 else 's'}"
        if overview.next_end is not None:
            yield f"next end in {span((overview.next_end.expires_at - self._clock.now()).total_seconds())}"
        today = _credits(exposure.spent_day_units + exposure.reserved_units)
        most = limits.max_daily_spend_units
        yield f"{today} credits today" if most is None else f"{today} of {_credits(most)} credits today"
        if overview.stuck:
            yield f"{len(overview.stuck)} stuck"
        if words := self._services.runway.words():
            yield words
        if self._services.signer.trouble:
            yield "no usable key"

    async def reload(self, read: Callable[[], Awaitable[object]]) -> None:
        """Do what SIGHUP asks for, while `systemctl status` says so."""
        systemd.reloading()
        try:
            await read()
        finally:
            systemd.notify(READY=1)
        await self.show()

    @asynccontextmanager
    async def stopping(self) -> AsyncIterator[None]:
        """While what runs is finished, ask for as long as it takes."""
        self._ending = True
        if self._due is not None:
            self._due.cancel()
        systemd.stopping("finishing what runs")
        asking = asyncio.get_running_loop().create_task(_ask_for_time(), name="extend timeout")
        try:
            yield
        finally:
            asking.cancel()


async def _ask_for_time() -> None:
    while True:
        systemd.extend_timeout(EACH_TIME_S)
        await asyncio.sleep(ASK_EVERY_S)


def _credits(units: int) -> str:
    """As short as it can be read: `41.2`, `1000`."""
    return f"{(Decimal(units) / UNITS_PER_CREDIT).quantize(Decimal('0.1')).normalize():f}"
