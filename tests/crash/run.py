"""`make crash`: a real daemon, killed with SIGKILL at every derived fault point, and at random under load.

    python tests/crash/run.py [--quick] [--only TEXT]… [--workers N] [--kills N] [--seed N] [--list] [--survey]

First every scenario runs without a death and tells which points it passes. Then each point is died at, in
the quickest scenario that passes it; and in one scenario per operation at every point that it passes. After
each death the daemon is started again, what was asked is asked again, and at rest devnet is the judge.
Exits with 1 if a VM was lost, rented twice, overdue or unaccounted for, or a fault point was not exercised.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

if __name__ == "__main__":  # pytest's configuration does this for tests
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from crash.cases import Case, Crew, Outcome, Survey, never_died
from crash.forked import Nursery
from crash.load import under_load
from crash.points import points
from crash.report import complaint, table, wrong_under_load
from crash.scenario import Scenario
from crash.scenarios import SCENARIOS
from support.devnet import DevnetProcess

WORKERS, KILLS = 6, 200
QUICK = ("create and wait", "destroy a vm")
QUICK_POINTS, QUICK_KILLS = 5, 5
EVERY = 25
"""After so many cases it is said how far it is."""
EXEMPT: dict[str, str] = {}
"""Points that no scenario passes, by name, each with its reason."""


def chosen(options: argparse.Namespace) -> list[Scenario]:
    """The scenarios that are asked for."""
    wanted = options.only or (QUICK if options.quick else ())
    return [scenario for scenario in SCENARIOS if not wanted or any(part in scenario.name for part in wanted)]


def sample(cases: list[Case], options: argparse.Namespace) -> list[Case]:
    """All cases, or some that are spread over them."""
    return cases[:: max(1, len(cases) // QUICK_POINTS)] if options.quick else cases


def unpassed(survey: Survey) -> list[str]:
    """The points that no scenario passes, and that have no reason for it."""
    passed = {case.point for case in survey.cases()}
    return [
        point.name
        for number, point in enumerate(points())
        if number not in passed and point.name not in EXEMPT
    ]


class Telling:
    """Tells whatever is wrong, at once; and how far it is."""

    def __init__(self, cases: int) -> None:
        self._done, self._cases = 0, cases

    def __call__(self, outcome: Outcome) -> None:
        """One more case is done."""
        self._done += 1
        if text := complaint(outcome):
            print(text, flush=True)
        if not self._done % EVERY:
            print(f"{self._done} of {self._cases}", file=sys.stderr, flush=True)


@contextmanager
def networks(folder: Path, count: int) -> Iterator[list[DevnetProcess]]:
    """So many networks."""
    with ExitStack() as stack:
        yield [stack.enter_context(DevnetProcess(folder / f"net-{number}")) for number in range(count)]


async def run(options: argparse.Namespace, folder: Path) -> int:
    """Survey, deaths, load, table; the exit code."""
    began = time.monotonic()
    alive = [Case(scenario) for scenario in chosen(options)]
    with Nursery() as nursery, networks(folder, min(options.workers, len(alive)) + 1) as (busy, *nets):
        loading = asyncio.ensure_future(under_load(busy, nursery, options.kills, options.seed))
        crew = Crew(nursery, nets)
        survey = Survey(await crew.play(alive, Telling(len(alive))))
        passed = len({case.point for case in survey.cases()})
        cases = sample(survey.cases(), options)
        print(f"{len(alive)} scenarios pass {passed} of {len(points())} points", flush=True)
        if options.survey:
            await loading
            print("".join(f"not passed: {name}\n" for name in unpassed(survey)), end="")
            return 0 if all(outcome.ok for outcome in survey.outcomes) else 1
        outcomes = await crew.play(cases, Telling(len(cases)))
        again = survey.again(cases, outcomes)
        outcomes += await crew.play(again, Telling(len(again)))
        loaded = await loading
    for line in wrong_under_load(loaded):
        print(line)
    order = [scenario.name for scenario in SCENARIOS]
    outcomes.sort(key=lambda outcome: order.index(outcome.case.scenario.name))
    print(table(outcomes, loaded))
    whole = not (options.quick or options.only)
    wanted = range(len(points())) if whole else {case.point for case in cases if case.point is not None}
    missing = [point.name for point in never_died(wanted, outcomes) if point.name not in EXEMPT]
    print("".join(f"not exercised: {name}\n" for name in missing), end="")
    print(f"{time.monotonic() - began:.0f} s")
    ok = loaded.verdict.ok and not missing and all(outcome.ok for outcome in [*survey.outcomes, *outcomes])
    return 0 if ok else 1


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Kill a daemon at every fault point, and at random under load."
    )
    parser.add_argument("--only", action="append", help="scenarios whose name contains this (repeatable)")
    parser.add_argument("--quick", action="store_true", help="a few points of a few scenarios")
    parser.add_argument(
        "--workers", type=int, default=WORKERS, help=f"networks at a time (default {WORKERS})"
    )
    parser.add_argument("--kills", type=int, default=None, help=f"random kills under load (default {KILLS})")
    parser.add_argument("--seed", type=int, default=None, help="of the random kills")
    parser.add_argument("--list", action="store_true", help="only print the fault points")
    parser.add_argument("--survey", action="store_true", help="kill nobody: which points does nobody pass?")
    options = parser.parse_args(given)
    if options.kills is None:
        options.kills = QUICK_KILLS if options.quick else KILLS
    if options.survey:
        options.kills = 0
    if options.seed is None:
        options.seed = secrets.randbelow(1_000_000)
    return options


def main(given: Sequence[str] | None = None) -> int:
    """The whole program; returns its exit code."""
    options = arguments(given)
    if options.list:
        print("\n".join(point.name for point in points()))
        return 0
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        return asyncio.run(run(options, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
