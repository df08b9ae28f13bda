"""One run of a design against a schedule, from an empty network to the figures. Imported under virtual time."""

import argparse
import asyncio
import json
import logging
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Protocol

from aleph_devnet import figures
from aleph_devnet.app import Devnet
from aleph_devnet.network import Network, Options
from soak.daemon import DaemonDesign
from soak.naive import NaiveDesign
from soak.result import Result
from soak.schedule import CRNS, DAY_S, HOUR_S, Schedule, Wish
from soak.table import faults, table
from soak.virtual_time import VirtualLoop, VirtualTime, until
from soak.weather import LATENCY_S, LOST, Weather

SETTLE_S = 24 * HOUR_S
"""After the schedule: every lease ends within this time, and what was begun comes to an end."""
REST_S = HOUR_S
"""Of this, after the last VM has ended: what was looked at once more may still come to life."""
_LOOK_S = 600.0
_CREDITS = 10**12
ALWAYS = f"always: {LATENCY_S:g} s per answer, {LOST:.0%} of requests and {LOST:.0%} of replies lost"


class Design(Protocol):
    """What is tried."""

    name: str
    counts: Counter[str]

    async def begin(self) -> None:
        """Start it."""

    async def kill(self, down_s: float) -> None:
        """End it at once, and start it again later."""

    async def end(self) -> None:
        """End it for good."""

    async def fulfil(self, wish: Wish) -> None:
        """Carry out one wish."""

    async def rows(self) -> set[str]:
        """The hashes that it knows of."""


DESIGNS: dict[str, Callable[..., Design]] = {"daemon": DaemonDesign, "naive": NaiveDesign}


def run(plan: Schedule, clock: VirtualTime, asked: argparse.Namespace) -> int:
    """Each design, one after the other, under the same schedule; what the daemon broke is the exit code."""
    logging.basicConfig(level=logging.INFO if asked.log else logging.CRITICAL, stream=sys.stderr)
    if not asked.json:
        print("\n".join([f"seed {plan.seed}:", *plan.told(), ALWAYS]), flush=True)
    results = []
    for name in [asked.only] if asked.only else list(DESIGNS):
        random.seed(plan.seed)
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
            results.append(runner.run(soak(DESIGNS[name], plan, clock)))
        print(f"{name}: done in {results[-1].real_s:.0f} s", file=sys.stderr, flush=True)
    broken = [
        f"{result.name}: {fault}" for result in results if result.name != "naive" for fault in faults(result)
    ]
    if asked.json:
        print(json.dumps({"ok": not broken, "broken": broken, "results": [vars(one) for one in results]}))
    else:
        print(table(results))
        for result in results:
            said = ", ".join(f"{what} {count}" for what, count in sorted(result.counts.items()))
            print(f"{result.name} ({result.real_s:.0f} s): {said}")
        print("\n".join(broken) or f"nothing was broken by {results[0].name}")
    return 1 if broken else 0


async def soak(make: Callable[..., Design], plan: Schedule, clock: VirtualTime) -> Result:
    """One design on a network of its own."""
    began = perf_counter()
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="soak-", dir=shared if shared.is_dir() else None) as name:
        folder = Path(name)
        os.environ.update(HOME=name, XDG_STATE_HOME=str(folder / "state"))
        (folder / "net").mkdir()
        options = Options(
            folder / "net", port=0, crns=CRNS, boot_seconds=8, credits=_CREDITS, tick_s=5, ssh=False
        )
        devnet = Devnet(Network(options))
        await devnet.start()
        start = clock.wall
        design = make(devnet, plan, start, folder)
        weather = Weather(devnet, clock, design)
        await design.begin()
        weather.begin()
        async with asyncio.TaskGroup() as group:
            troubles = [group.create_task(weather.bring(trouble, start)) for trouble in plan.troubles]
            wishes = [group.create_task(design.fulfil(wish)) for wish in plan.wishes]
            troubles.append(group.create_task(tell_progress(devnet.network, start)))
            await asyncio.wait(wishes)
            await come_to_rest(devnet.network, start + plan.seconds + SETTLE_S)
            for task in troubles:
                task.cancel()
        found = figures.lives(devnet.network, weather.excuses)
        summary = figures.summary(found, await design.rows())
        await design.end()
        await devnet.stop()
    return Result(design.name, summary, design.counts, perf_counter() - began)


async def tell_progress(network: Network, start: float) -> None:
    """A line per simulated day, for whoever waits."""
    while True:
        await asyncio.sleep(DAY_S)
        days = (network.clock.now() - start) / DAY_S
        print(f"day {days:.0f}: {len(network.chain.messages)} messages", file=sys.stderr, flush=True)


async def come_to_rest(network: Network, latest: float) -> None:
    """Until nothing has been billed for a while, or it is too late for that."""
    while network.clock.now() < latest and any(payer.open for payer in network.chain.ledger.payers.values()):
        await asyncio.sleep(_LOOK_S)
    await until(min(latest, network.clock.now() + REST_S))
