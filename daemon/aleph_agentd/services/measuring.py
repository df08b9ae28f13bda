"""Everything that the owner may want to watch from afar, as figures of one instant."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from ..domain import money
from ..domain.metrics import Family, Sample, by_label, gauge
from ..domain.model import VmState
from ..domain.reconcile import Findings
from ..ports import Endings
from .core import Services
from .meters import Meters
from .treasury import Overview

_BALANCE_WAIT_S = 2.0
_KEPT_S = 60.0
"""How old the sums over all rows may be while no row changes: they are what a scrape costs."""


@dataclass(frozen=True)
class About:
    """What the daemon knows of itself."""

    version: str
    started_at: datetime
    sessions: Callable[[], int]


@dataclass(frozen=True)
class _Sums:
    """What is summed up over all rows, and the balance of that time."""

    version: int
    at: float
    overview: Overview
    states: dict[str, float]
    endings: Endings
    balance: int | None


class Measuring:
    """Reads them. May be asked every few seconds: the sums are taken when a row changed, else once a minute."""

    def __init__(self, services: Services, meters: Meters, about: About) -> None:
        self._services, self._meters, self._about = services, meters, about
        self._kept: _Sums | None = None

    async def families(self) -> list[Family]:
        """All figures now; answers also without key and network. Raises StoreTrouble."""
        sums = await self._sums()
        return [
            *self._daemon(),
            by_label("vms", "VMs by state; gone and failed ones are tombstones.", "state", sums.states),
            *self._leases(sums.overview, sums.endings),
            *_sweeps(self._services.sweeper.findings, self._services.clock.now()),
            *self._money(sums.overview, sums.balance),
            *self._meters.families(),
        ]

    async def _sums(self) -> _Sums:
        inventory, kept = self._services.inventory, self._kept
        version, now = inventory.version, time.monotonic()
        if kept is None or kept.version != version or now - kept.at > _KEPT_S:
            states = {str(state): float(await inventory.count([state])) for state in VmState}
            overview = await self._services.treasury.overview("")
            kept = _Sums(version, now, overview, states, await inventory.endings(), await self._balance())
            self._kept = kept
        return kept

    def _daemon(self) -> Iterator[Family]:
        services, about = self._services, self._about
        version = Sample(1, (("version", about.version),))
        yield Family("info", "gauge", "Always 1; tells the version that runs.", (version,))
        yield gauge("start_time_seconds", "When the daemon started.", about.started_at.timestamp())
        yield gauge("sessions", "MCP sessions that are open.", about.sessions())
        yield gauge("key_usable", "1 while there is a key to sign with.", not services.signer.trouble)
        yield gauge("inventory_writable", "1 unless the last write failed.", not services.inventory.trouble)
        yield gauge("frozen", "How many freezes stand.", len(services.freezes.standing))
        waiting = services.approvals.figures()["waiting"]
        yield gauge("approvals_waiting", "Requests that wait for the owner.", waiting)
        alerts = sum(len(notice()) for notice in services.notices)
        yield gauge("alerts", "What is told to the owner with every answer.", alerts)

    def _leases(self, overview: Overview, endings: Endings) -> Iterator[Family]:
        now, following = self._services.clock.now(), overview.next_end
        next_end = following.expires_at if following else None
        yield gauge(
            "next_deadline_seconds",
            "When the next lease ends, as a Unix time; absent while none runs.",
            next_end.timestamp() if next_end else None,
        )
        ends = [end for end in (next_end, endings.oldest_end) if end is not None and end < now]
        yield gauge(
            "oldest_overdue_seconds",
            "For how long the oldest lease is over whose VM may still be billed; 0: none.",
            (now - min(ends)).total_seconds() if ends else 0,
        )
        yield gauge("stuck_vms", "VMs whose teardown failed often; still retried.", endings.stuck)
        yield gauge(
            "teardown_failures", "Failed attempts of the teardowns that are not through.", endings.failures
        )
        attempts = Sample(self._services.teardown.attempts)
        yield Family("teardown_attempts_total", "counter", "Passes over VMs that are to end.", (attempts,))

    def _money(self, overview: Overview, balance: int | None) -> Iterator[Family]:
        treasury, exposure = self._services.treasury, overview.exposure
        left = treasury.budget_left(treasury.limits, exposure)
        yield _credits("reserved_credits", "Bound by open reservations.", exposure.reserved_units)
        yield _credits("spent_day_credits", "Settled in the last 24 hours.", exposure.spent_day_units)
        yield _credits("budget_left_credits", "What the limits leave; absent: no limit.", left)
        yield _credits("balance_credits", "The payer's balance; absent: not known now.", balance)
        yield _credits("burn_credits_per_hour", "What live VMs cost.", exposure.burn_units_per_hour)

    async def _balance(self) -> int | None:
        try:
            async with asyncio.timeout(_BALANCE_WAIT_S):
                return await self._services.treasury.balance_if_known()
        except TimeoutError:
            return None


def _credits(name: str, help_text: str, units: int | None) -> Family:
    text = f"{help_text} In credits (1 credit = US$0.01)."
    return gauge(name, text, None if units is None else money.in_credits(units))


def _sweeps(findings: Findings, now: datetime) -> Iterator[Family]:
    swept = findings.at.timestamp() > 0
    age = (now - findings.at).total_seconds() if swept else None
    yield gauge("sweep_age_seconds", "Since the network was last compared; absent: not yet.", age)
    yield gauge("sweep_trouble", "1 while the last sweep could not see or do its work.", _troubled(findings))
    found = {
        name: float(len(getattr(findings, name)))
        for name in ("orphans", "strangers", "lost", "undead", "stale", "adopted")
    }
    yield by_label("sweep_findings", "What the last sweep found.", "kind", found)


def _troubled(findings: Findings) -> bool:
    return bool(findings.trouble or findings.halted)
