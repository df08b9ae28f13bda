"""Scenarios in which the daemon dies at one point, many at a time, each worker on a network of its own."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace

from aleph_agentd.domain.errors import Refusal
from crash.forked import Nursery
from crash.points import Point, points
from crash.scenario import Scenario
from crash.tenant import Tenant
from crash.verdict import Verdict, judge
from support.daemon import NotReady
from support.devnet import DevnetProcess

PLAY_S = 600.0
"""A scenario that waits for what never comes has an end, too."""
TRIES = 3
"""A scenario may miss its point, as two things that happen at once take turns; not three times."""


@dataclass(frozen=True)
class Case:
    """`point` is the number of a point, or None: nothing dies."""

    scenario: Scenario
    point: int | None = None

    def __str__(self) -> str:
        where = "" if self.point is None else f", killed at {points()[self.point].name}"
        return f"{self.scenario.name}{where}"


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    case: Case
    killed: bool
    passed: frozenset[int]
    verdict: Verdict
    seconds: float
    trouble: str = ""
    """What the scenario could not do; empty, if all went on."""
    underived: str = ""
    """A call that is no site."""
    log: str = ""

    @property
    def ok(self) -> bool:
        """Whether all is well. It may have missed its point: that nobody died there is told in the end."""
        return self.verdict.ok and not self.trouble and not self.underived


async def play(case: Case, net: DevnetProcess, nursery: Nursery) -> Outcome:
    """One case from an empty inventory to rest, and what devnet says then."""
    began = time.monotonic()
    net.clear_faults()
    net.set_clock(0)
    tenant = Tenant(net, nursery, case.point, case.scenario.environment)
    try:
        trouble = await _trouble(asyncio.wait_for(case.scenario.run(tenant), PLAY_S))
        tenant.fuse.disarm()
        trouble = await _trouble(tenant.rest()) or trouble
        verdict = judge(tenant)
        outcome = Outcome(
            case, tenant.has_died, tenant.passed, verdict, time.monotonic() - began, trouble,
            tenant.fuse.complaint,
        )  # fmt: skip
        return outcome if outcome.ok else replace(outcome, log=tenant.daemon.log())
    finally:
        with redirect_stderr(io.StringIO()):
            tenant.daemon.close()


async def _trouble(work: Awaitable[object]) -> str:
    """What went wrong, in words: the verdict is asked for all the same."""
    try:
        await work
    except (AssertionError, Refusal, NotReady, OSError) as why:
        return f"{type(why).__name__}: {why}"[:600]
    return ""


async def play_until_killed(case: Case, net: DevnetProcess, nursery: Nursery) -> Outcome:
    """A case, again if it missed its point."""
    for _ in range(TRIES):
        outcome = await play(case, net, nursery)
        if outcome.killed or case.point is None or not outcome.verdict.ok:
            break
    return outcome


class Crew:
    """Workers, each with a network of its own, that play cases until there are none left."""

    def __init__(self, nursery: Nursery, networks: Sequence[DevnetProcess]) -> None:
        self._nursery, self._networks = nursery, networks

    async def play(self, cases: Sequence[Case], tell: Callable[[Outcome], None]) -> list[Outcome]:
        """All of them, in their order; `tell` hears of each at once."""
        left, outcomes = list(reversed(cases)), list[Outcome]()

        async def work(net: DevnetProcess) -> None:
            while left:
                outcomes.append(await play_until_killed(left.pop(), net, self._nursery))
                tell(outcomes[-1])

        await asyncio.gather(*map(work, self._networks))
        return outcomes


@dataclass
class Survey:
    """What the scenarios pass when nobody dies, and how long each takes."""

    outcomes: list[Outcome] = field(default_factory=list)

    def cases(self) -> list[Case]:
        """Each point in the quickest scenario that passes it; and all that are passed in some scenarios."""
        chosen: dict[int, Outcome] = {}
        for outcome in sorted(self.outcomes, key=lambda outcome: outcome.seconds):
            for point in outcome.passed:
                chosen.setdefault(point, outcome)
        picked = [
            (outcome, point)
            for outcome in self.outcomes
            for point in sorted(outcome.passed)
            if outcome.case.scenario.everywhere or chosen[point] is outcome
        ]
        picked.sort(key=lambda pick: -pick[0].seconds)
        return [Case(outcome.case.scenario, point) for outcome, point in picked]

    def again(self, cases: Iterable[Case], outcomes: Iterable[Outcome]) -> list[Case]:
        """Points that these cases missed, as what runs beside a scenario is not always in time: in every other one."""
        missed = {case.point for case in cases} - died(outcomes)
        return [
            Case(outcome.case.scenario, point)
            for outcome in self.outcomes
            for point in outcome.passed & missed
        ]


def died(outcomes: Iterable[Outcome]) -> frozenset[int]:
    """The points at which somebody died."""
    return frozenset(o.case.point for o in outcomes if o.killed and o.case.point is not None)


def never_died(wanted: Iterable[int], outcomes: Iterable[Outcome]) -> list[Point]:
    """The points among these at which nobody died."""
    return [points()[number] for number in sorted(set(wanted) - died(outcomes))]
