"""The network in memory, with ways that take time, answers that get lost, bytes that arrive late, and a memory."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from aleph_agentd.domain.model import NetworkInstance, SignedMessage
from aleph_agentd.ports import MessageStatus, NetworkTrouble
from support.fake_network import ADDRESS, FakeNetwork, Posted
from support.simulation import SimulatedClock, SimulatedLoop

WAY_S = 0.05
"""From here to there, and back again."""
TIME_OUT_S = 10.0
LOSS = 0.25
CCN_CALLS = (
    "post", "status", "which", "rejection", "sender", "instances", "published_ends", "removing",
    "network_time", "balance", "expenses", "price", "estimate", "crns",
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

    def billed_seconds(self, item_hash: str, until: datetime | None = None) -> float:
        """How long the network has billed this VM, until then or until now."""
        now = until or self._clock.now()
        seen = [(min(at, now), status) for at, status in self.history[item_hash]]
        seen.append((now, MessageStatus.UNKNOWN))
        spans = pairwise(seen)
        return sum((end - since).total_seconds() for (since, status), (end, _) in spans if status.on_network)


@dataclass
class Interruption:
    """What happens in the middle of a call, before its effect."""

    call: str
    happens: Callable[[str], Awaitable[None]]
    """With the hash of the VM that the call is about, if it is about one."""
    lost: bool = False
    """And the call does not arrive."""
    skip: int = 0
    """How many such calls go undisturbed before it."""


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
        self.resurrected: set[str] = set()
        """VMs that a CRN was asked to run by an old request, behind everybody's back."""
        self.denied: dict[str, datetime] = {}
        """VMs that the CCN which answers does not know until then, although the network does."""
        self.swallows = 0
        """So many FORGETs are answered, and go no further."""
        self.posted_first: dict[str, datetime] = {}
        self.told_ended: dict[str, datetime] = {}
        """When the daemon was first told that a billing has ended, in this life of it."""
        self.interruption: Interruption | None = None
        self.watch: Callable[[str, Any], Awaitable[None]] | None = None
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
            await self.passes(name, _subject(name, args))
            answer = await call(*args)
            self._may_be_lost(name)
            await asyncio.sleep(WAY_S)
            self._tell(name, args, answer)
            return answer

        return go

    def _may_be_lost(self, name: str) -> None:
        if self.flaky and self.flaky.random() < LOSS:
            raise NetworkTrouble(name, "connection reset")

    async def _set_out(self, name: str, args: tuple[Any, ...]) -> None:
        if self.watch and name == "post":
            await self.watch(name, args[0])
        if self.watch and name == "notify":
            await self.watch(name, args[1])
        if name == "post":
            self._sent[args[0].item_hash] = args[0]
            self.posted_first.setdefault(args[0].item_hash, self._clock.now())
        if name == "notify":
            self.notified[args[1]] = args[0]

    async def passes(self, name: str, item_hash: str) -> None:
        """Something else may happen at the very moment of this call."""
        at = self.interruption
        if at and at.call == name and at.skip == 0:
            self.interruption = None
            await at.happens(item_hash)
            if at.lost:
                raise NetworkTrouble(name, "connection reset")
        elif at and at.call == name:
            at.skip -= 1

    def _tell(self, name: str, args: tuple[Any, ...], answer: Any) -> None:
        told = [args[0]] if name == "status" and answer.billing_ended else []
        told += sorted(answer) if name == "which" and args[1] is MessageStatus.FORGOTTEN else []
        alive = [args[0]] if name == "status" and answer.on_network else []
        for item_hash in told:
            self.told_ended.setdefault(item_hash, self._clock.now())
        for item_hash in alive:
            self.told_ended.pop(item_hash, None)

    # ------------------------------------------------------------------ nodes that are behind

    def _denies(self, item_hash: str) -> bool:
        return self._clock.now() < self.denied.get(item_hash, self._clock.now())

    async def post(self, message: SignedMessage) -> None:
        """A node answers before it has passed a message on."""
        if self.swallows and json.loads(message.body)["type"] == "FORGET":
            self.swallows -= 1
            return
        await super().post(message)

    async def status(self, item_hash: str) -> MessageStatus:
        """What the node that answers knows."""
        status = await super().status(item_hash)
        return MessageStatus.UNKNOWN if self._denies(item_hash) else status

    async def which(self, item_hashes: Sequence[str], status: MessageStatus) -> frozenset[str]:
        """What the node that answers lists."""
        found = await super().which(item_hashes, status)
        return frozenset(item for item in found if not self._denies(item))

    async def instances(self, sender: str) -> list[NetworkInstance]:
        """What the node that answers lists."""
        return [item for item in await super().instances(sender) if not self._denies(item.item_hash)]

    # ------------------------------------------------------------------ what happens there without us

    def deny(self, item_hash: str, minutes: float) -> None:
        """A node that does not know this VM answers from now on; once per VM, and for less than a proof takes."""
        self.denied.setdefault(item_hash, self._clock.now() + timedelta(minutes=minutes))

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
            case "swallows", count:
                self.swallows = count
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
        self.ccn_away, self.flaky, self.swallows, self.interruption = False, None, 0, None
        self.denied = dict.fromkeys(self.denied, self._clock.now())
        self.crn_does.clear()
        self.next_instance = MessageStatus.PROCESSED
        for item_hash, status in list(self.statuses.items()):
            if status is MessageStatus.PENDING and item_hash in self.of_kind("INSTANCE"):
                self.statuses[item_hash] = MessageStatus.PROCESSED
        self.boots_slowly = False
        self.booting.clear()


def _subject(name: str, args: tuple[Any, ...]) -> str:
    """The VM that a call is about, if it is about one."""
    if name == "post":
        content = json.loads(args[0].body)["content"]
        return str(content.get("target", args[0].item_hash))
    if name in ("notify", "execution", "erase"):
        return str(args[1])
    return args[0] if name == "status" else ""
