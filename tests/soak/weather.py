"""Carries out the troubles of a schedule on a local network, and on the machine that a design runs on."""

import asyncio
from collections import Counter
from typing import Protocol

from aleph_devnet.app import Devnet
from aleph_devnet.faults import Fault
from soak.schedule import Trouble
from soak.virtual_time import VirtualLoop, VirtualTime, until

LATENCY_S, LOST = 0.2, 0.01
"""Always: how long each answer takes, and the share of requests, and again of replies, that gets lost."""
_KILL_WITHIN_S = 15.0


class Mortal(Protocol):
    """What can be killed."""

    async def kill(self, down_s: float) -> None:
        """End it at once, and start it again so many seconds later."""


class Weather:
    """Every trouble at its time. `excuses`: when nothing of ours ran, or hardly an answer came back."""

    def __init__(self, devnet: Devnet, clock: VirtualTime, design: Mortal) -> None:
        self._devnet, self._network, self._clock, self._design = devnet, devnet.network, clock, design
        self._deaths: Counter[int] = Counter()
        self.excuses: dict[str, list[tuple[float, float]]] = {"asleep": [], "down": [], "storm": []}

    def begin(self) -> None:
        """The troubles that are always there."""
        self._network.strike(Fault({}, {"latency_s": LATENCY_S}))
        for when in ("before", "after"):
            self._network.strike(Fault({}, {"drop": when}, probability=LOST))

    async def bring(self, trouble: Trouble, start: float) -> None:
        """Wait for one trouble and see it through."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        await until(start + trouble.at)
        if trouble.kind == "CCN outage":
            effect = {"drop": "before"} if trouble.what else {"status": 503}
            await self._fault(Fault({"node": "ccn"}, effect), trouble)
        elif trouble.kind == "own network outage":
            await self._fault(Fault({}, {"drop": "before"}), trouble)
        elif trouble.kind == "storm of lost replies":
            self.excuses["storm"].append((self._clock.wall, self._clock.wall + trouble.seconds))
            await self._fault(Fault({}, {"drop": "after"}, probability=trouble.what), trouble)
        elif trouble.kind.startswith("CRN death"):
            await self._death(int(trouble.what), trouble)
        elif trouble.kind == "suspend":
            self.excuses["asleep"].append((self._clock.wall, self._clock.wall + trouble.seconds))
            loop.suspend(trouble.seconds)
        else:
            await loop.in_the_middle(int(trouble.what), _KILL_WITHIN_S)
            since = self._clock.wall
            await self._design.kill(trouble.seconds)
            self.excuses["down"].append((since, self._clock.wall))

    async def _fault(self, fault: Fault, trouble: Trouble) -> None:
        ends_at = self._clock.wall + trouble.seconds
        self._network.strike(fault)
        await until(ends_at)
        self._network.lift(fault)

    async def _death(self, number: int, trouble: Trouble) -> None:
        """A CRN may die again while it is dead: it comes back with the last of these."""
        crn, died_at = self._network.crns[number], self._clock.wall
        self._deaths[number] += 1
        await self._devnet.set_down(crn, down=True)
        if trouble.seconds == float("inf"):
            return
        await until(died_at + trouble.seconds)
        self._deaths[number] -= 1
        if not self._deaths[number]:
            await self._devnet.set_down(crn, down=False)
