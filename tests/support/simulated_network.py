"""The network in memory, with ways that take time, answers that get lost, bytes that arrive late, and a memory."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from typing import Any

from aleph_agentd.domain.model import SignedMessage
from aleph_agentd.ports import MessageStatus, NetworkTrouble
from support.fake_network import ADDRESS, FakeNetwork, Posted
from support.simulation import SimulatedClock, SimulatedLoop

WAY_S = 0.05
"""From here to there, and back again."""
TIME_OUT_S = 10.0
LOSS = 0.25
CCN_CALLS = (
    "post", "status", "rejection", "instances", "published_ends", "removing", "network_time",
    "balance", "price", "estimate", "crns",
)  # fmt: skip
CRN_CALLS = ("notify", "execution", "executions", "erase", "ssh_answers")


class Remembering(dict[str, MessageStatus]):
    """Statuses, and since when each of them holds."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._clock = clock
        self.history: defaultdict[str, list[tuple[datetime, MessageStatus]]] = defaultdict(list)

    def __setitem__(self, item_hash: str, status: MessageStatus) -> None:
        """It holds from now on."""
        self.history[item_hash].append((self._clock.now(), status))
        super().__setitem__(item_hash, status)

    def billed_seconds(self, item_hash: str) -> float:
        """How long the network has billed this VM."""
        seen = [*self.history[item_hash], (self._clock.now(), MessageStatus.UNKNOWN)]
        spans = pairwise(seen)
        return sum(
            (until - since).total_seconds() for (since, status), (until, _) in spans if status.on_network
        )


class SimulatedNetwork(FakeNetwork):
    """A FakeNetwork that is far away: each call takes its time there and back, and the daemon may die meanwhile."""

    def __init__(self, loop: SimulatedLoop, clock: SimulatedClock) -> None:
        super().__init__(clock)
        self._loop = loop
        self.statuses: Remembering = Remembering(clock)  # type: ignore[assignment]
        self.ccn_away = False
        self.flaky: random.Random | None = None
        """While it is there, a part of all calls is lost on the way, and a part of all answers."""
        self._sent: dict[str, SignedMessage] = {}
        self.notified: dict[str, str] = {}
        """Every VM that a CRN was asked to run, and its CRN: the request may arrive once more."""
        self.watch: Callable[[str, str], Awaitable[None]] | None = None
        """Sees each call of `post` and `notify` when it sets out."""
        for name in (*CCN_CALLS, *CRN_CALLS):
            setattr(self, name, self._far(name, getattr(self, name)))

    def _far(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def go(*args: Any) -> Any:
            if self._loop.dead:
                raise asyncio.CancelledError
            await self._set_out(name, args)
            await asyncio.sleep(WAY_S)
            if self.ccn_away and name in CCN_CALLS:
                await asyncio.sleep(TIME_OUT_S)
                raise NetworkTrouble(name, "no answer in time")
            self._may_be_lost(name)
            answer = await call(*args)
            self._may_be_lost(name)
            await asyncio.sleep(WAY_S)
            return answer

        return go

    def _may_be_lost(self, name: str) -> None:
        if self.flaky and self.flaky.random() < LOSS:
            raise NetworkTrouble(name, "connection reset")

    async def _set_out(self, name: str, args: tuple[Any, ...]) -> None:
        if self.watch and name == "post":
            await self.watch(name, args[0].item_hash)
        if self.watch and name == "notify":
            await self.watch(name, args[1])
        if name == "post":
            self._sent[args[0].item_hash] = args[0]
        if name == "notify":
            self.notified[args[1]] = args[0]

    # ------------------------------------------------------------------ what happens there without us

    def ours(self) -> dict[str, Posted]:
        """The INSTANCEs of our key."""
        return {item: posted for item, posted in self.of_kind("INSTANCE").items() if posted.sender == ADDRESS}

    def in_transit(self) -> list[SignedMessage]:
        """What was posted and has not arrived; it may still do so."""
        return [message for item_hash, message in self._sent.items() if item_hash not in self.messages]

    async def arrives(self, message: SignedMessage) -> None:
        """Bytes that were given up on reach a CCN."""
        while message.item_hash not in self.messages:
            with suppress(NetworkTrouble):
                await FakeNetwork.post(self, message)

    def suffers(self, what: str, *details: Any) -> None:
        """Something goes wrong from now on."""
        match what, *details:
            case "calls", method, times, lost_answer:
                self.fail(method, times, "after" if lost_answer else "before")
            case "ccn", away:
                self.ccn_away = away
            case "flaky", seed:
                self.flaky = random.Random(seed)
            case "crn", number, mood:
                self.crn_does[self.crn_list[number].hash] = mood
            case "next", status:
                self.next_instance = MessageStatus(status)
            case "balance", units:
                self.credits[self.key_address] = units
            case "price", factor if 1 < self.cu_rate < 20:
                self.price_moves(factor)
            case "slow boot", slowly:
                self.boots_slowly = slowly
            case ("heal",):
                self.heals()

    def heals(self) -> None:
        """Whatever is wrong with the network is over."""
        self.heal()
        self.ccn_away, self.flaky = False, None
        self.crn_does.clear()
        self.next_instance = MessageStatus.PROCESSED
        for item_hash, status in list(self.statuses.items()):
            if status is MessageStatus.PENDING and item_hash in self.of_kind("INSTANCE"):
                self.statuses[item_hash] = MessageStatus.PROCESSED
        self.boots_slowly = False
        self.booting.clear()
