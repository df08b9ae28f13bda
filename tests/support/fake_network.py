"""The network in memory: Signer, Messages, Market and Hosts in one, as aleph-network.md describes them.

What tests can do to it, besides calling it as the daemon does:
`fail(method, times, when)` lets the next calls raise NetworkTrouble before or after their effect ·
`hold(method)` stops a call until it is let go · `before(method, look)` runs a test's code inside a call ·
`statuses[hash]` sets a message's status · `crn_does[hash]` lets a CRN refuse, be silent, run out of credits ·
`price_moves(...)` · `calls` is everything that was asked.
"""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from aleph_agentd.domain.clock import Clock
from aleph_agentd.domain.crn import Gpu
from aleph_agentd.domain.gpu import GpuTier
from aleph_agentd.domain.model import Crn, Expense, NetworkInstance, PublishedEnd, SignedMessage, Stamp
from aleph_agentd.ports import (
    CrnList,
    EraseOutcome,
    Execution,
    InstanceSpec,
    KeyMissing,
    MessageStatus,
    NetworkTrouble,
    Notified,
    NotifyOutcome,
    Price,
    Rejection,
    Reserved,
    ReserveOutcome,
    RestartOutcome,
)

ADDRESS = "0x6370eF2f4Db3611D657b90667De398a2Cc2a370C"
CU_RATE = Decimal(14_250) / 3600
ADA = Gpu("RTX 4000 ADA", "NVIDIA", "AD104GL [RTX 4000 SFF Ada Generation]", "0300", "10de:27b0")
DAY_S = 86_400

CrnMood = Literal[
    "accepts", "refuses", "silent", "no_credits", "refuses_erase", "keeps_listing", "gave_its_gpu_away"
]


def a_crn(number: int, **changes: Any) -> Crn:
    """A CRN that can host; the higher its number, the lower its score."""
    facts: dict[str, Any] = {
        "hash": f"{number:02x}" * 32,
        "name": f"crn-{number}",
        "url": f"http://127.0.0.{10 + number}:8000",
        "score": round(1 - number / 100, 4),
        "version": "1.7.2",
        "has_gpu": False,
        "terms_and_conditions": "",
        "qemu": True,
        "ipv6": True,
        "active": True,
        "cpu_count": 32,
        "free_memory_mib": 65_536,
        "free_disk_mib": 1_000_000,
    }
    return Crn(**(facts | changes))


@dataclass
class Hold:
    """A call that a test keeps waiting."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def arrival(self) -> None:
        """Until the call is here."""
        async with asyncio.timeout(10):
            await self.reached.wait()


@dataclass
class Posted:
    """A message that a CCN has seen."""

    kind: str
    sender: str
    payer: str
    content: dict[str, Any]
    received_at: datetime
    target: str = ""
    rejection: Rejection | None = None


class FakeNetwork:
    """One CCN, its CRNs, its prices, and the key that signs."""

    def __init__(self, clock: Clock, *, balance: int = 100_000_000, crns: int = 4) -> None:
        self._clock = clock
        self._signed = 0
        self.key_trouble = ""
        self.key_address = ADDRESS
        self.credits: dict[str, int] = defaultdict(lambda: balance)
        self.cu_rate = CU_RATE
        ada = GpuTier(ADA.model, 3, Decimal(43_125 * 3) / 3600)
        self.gpus: dict[str, GpuTier] = {ADA.model.lower(): ada}
        self.estimate_factor = Decimal(1)
        self.crn_list = tuple(a_crn(number) for number in range(1, crns + 1))
        self.crn_does: dict[str, CrnMood] = {}
        self.messages: dict[str, Posted] = {}
        self.statuses: dict[str, MessageStatus] = {}
        self.revoked = False
        """The payer has taken back that this key may act for it."""
        self.elsewhere: dict[str, MessageStatus] | None = None
        """What a second CCN says otherwise; None: there is no second one."""
        self.pools: dict[str, set[str]] = defaultdict(set)
        self.booting: set[str] = set()
        """VMs whose CRN does not name their address yet."""
        self.boots_slowly = False
        self.ssh_up = True
        self.next_instance = MessageStatus.PROCESSED
        self.aggregates: dict[str, dict[tuple[str, int], datetime]] = defaultdict(dict)
        self.dates: dict[str, list[datetime]] = defaultdict(list)
        self.grants: dict[tuple[str, str], frozenset[str]] = {}
        """By payer and agent: the types of messages that one may send for the other."""
        self.booked: dict[str, list[Expense]] = defaultdict(list)
        """By payer; a VM is booked once, when it is forgotten: the history lags."""
        self.calls: list[tuple[str, str]] = []
        self.posted: list[str] = []
        """Every body that reached a CCN, in order."""
        self._failures: dict[str, list[str]] = defaultdict(list)
        self._holds: dict[str, list[Hold]] = defaultdict(list)
        self._looks: dict[str, list[Callable[[str], Awaitable[None]]]] = defaultdict(list)

    # ------------------------------------------------------------------ hooks

    def fail(self, method: str, times: int = 1, when: Literal["before", "after"] = "before") -> None:
        """The next `times` calls of a method raise NetworkTrouble, before or after their effect."""
        self._failures[method] += [when] * times

    def heal(self, method: str = "") -> None:
        """No more failures, of one method or of all."""
        for name in [method] if method else list(self._failures):
            self._failures[name].clear()

    def hold(self, method: str) -> Hold:
        """The next call of a method waits, before its effect, until it is let go."""
        hold = Hold()
        self._holds[method].append(hold)
        return hold

    def before(self, method: str, look: Callable[[str], Awaitable[None]]) -> None:
        """Run a test's code inside every call of a method, with its argument, before its effect."""
        self._looks[method].append(look)

    def asked(self, method: str) -> list[str]:
        """The arguments of all calls of a method."""
        return [what for name, what in self.calls if name == method]

    def price_moves(self, factor: str) -> None:
        """Everything costs this much more from now on."""
        self.cu_rate *= Decimal(factor)

    def of_kind(self, kind: str) -> dict[str, Posted]:
        """The messages of a type that a CCN has taken in."""
        return {item_hash: posted for item_hash, posted in self.messages.items() if posted.kind == kind}

    def billed(self) -> list[str]:
        """The VMs that the network bills now."""
        return [h for h in self.of_kind("INSTANCE") if self.statuses[h].on_network]

    def running(self) -> list[str]:
        """The VMs that some CRN holds."""
        return sorted(vm for pool in self.pools.values() for vm in pool)

    def stranger(
        self, item_hash: str, *, sender: str = ADDRESS, stamp: Stamp | None = None, **content: Any
    ) -> None:
        """Put an INSTANCE there that we did not make."""
        content = {"stamp": stamp, **content}
        self.messages[item_hash] = Posted("INSTANCE", sender, sender, content, self._clock.now())
        self.statuses[item_hash] = MessageStatus.PROCESSED

    async def _enter(self, method: str, what: str) -> Callable[[], None]:
        """Everything that comes before a call's effect; returns what comes after it."""
        self.calls.append((method, what))
        for look in self._looks[method]:
            await look(what)
        if self._holds[method]:
            hold = self._holds[method].pop(0)
            hold.reached.set()
            await hold.go.wait()
        when = self._failures[method].pop(0) if self._failures[method] else ""
        if when == "before":
            raise NetworkTrouble(method, "connection refused")

        def leave() -> None:
            if when == "after":
                raise NetworkTrouble(method, "server disconnected")

        return leave

    # ------------------------------------------------------------------ Signer

    @property
    def address(self) -> str:
        """The key's address."""
        if self.key_trouble:
            raise KeyMissing(self.key_trouble)
        return self.key_address

    @property
    def trouble(self) -> str:
        """Why there is no key."""
        return self.key_trouble

    async def sign_instance(self, spec: InstanceSpec) -> SignedMessage:
        """A new hash each time, like the SDK's."""
        stamp = [spec.stamp.installation, spec.stamp.lease_id, spec.stamp.expires_at.isoformat()]
        content = {
            "crn": spec.crn.hash,
            "vcpus": spec.vcpus,
            "memory": spec.memory_mib,
            "rootfs": spec.rootfs,
            "key": spec.ssh_pubkey,
            "stamp": stamp,
        } | ({"gpu": spec.gpu.device_id} if spec.gpu else {})
        return self._sign("INSTANCE", spec.payer, content)

    async def sign_forgets(self, item_hash: str, payer: str, count: int) -> tuple[SignedMessage, ...]:
        """Kill switches with distinct reasons."""
        content = {"target": item_hash, "hashes": [item_hash]}
        return tuple(self._sign("FORGET", payer, content) for _ in range(count))

    async def sign_extension(self, item_hash: str, end: PublishedEnd, at: datetime) -> SignedMessage:
        """One entry of our AGGREGATE."""
        content = {"entry": [item_hash, end.n, end.expires_at.isoformat()], "time": at.isoformat()}
        return self._sign("AGGREGATE", self.address, content)

    def _sign(self, kind: str, payer: str, content: dict[str, Any]) -> SignedMessage:
        sender = self.address
        self._signed += 1
        said = {"type": kind, "sender": sender, "payer": payer, "content": content, "salt": self._signed}
        body = json.dumps({**said, "item_content": json.dumps(content)})
        return SignedMessage(hashlib.sha256(body.encode()).hexdigest(), body)

    # ------------------------------------------------------------------ Messages

    async def post(self, message: SignedMessage) -> None:
        """Take it in; bytes seen before are dropped, whatever became of them."""
        leave = await self._enter("post", message.item_hash)
        self.posted.append(message.body)
        if message.item_hash not in self.messages:
            said = json.loads(message.body)
            posted = Posted(said["type"], said["sender"], said["payer"], said["content"], self._clock.now())
            takes = {"INSTANCE": self._admit, "FORGET": self._forget, "AGGREGATE": self._publish}
            status = takes[posted.kind](posted)
            self.messages[message.item_hash], self.statuses[message.item_hash] = posted, status
        leave()

    def _admit(self, posted: Posted) -> MessageStatus:
        """The 24 h rule: error 6 unless the payer could run everything for a day."""
        if posted.sender != posted.payer and "INSTANCE" not in self._grants(posted):
            posted.rejection = Rejection(2, "the payer has not authorised this key")
            return MessageStatus.REJECTED
        running = sum(
            self._rate(self.messages[h]) for h in self.billed() if self.messages[h].payer == posted.payer
        )
        need = int((running + self._rate(posted)) * DAY_S)
        if self.credits[posted.payer] < need:
            posted.rejection = Rejection(6, "not enough credits", need, self.credits[posted.payer])
            return MessageStatus.REJECTED
        if self.next_instance is MessageStatus.REJECTED:
            posted.rejection = Rejection(2, "the payer has not authorised this key")
        return self.next_instance

    def _forget(self, posted: Posted) -> MessageStatus:
        """A FORGET ends what is processed or removing; of a pending target it waits; else it is burnt."""
        posted.target = posted.content["target"]
        if self.revoked:
            posted.rejection = Rejection(2, "the payer has not authorised this key")
            return MessageStatus.REJECTED
        status = self.statuses.get(posted.target, MessageStatus.UNKNOWN)
        if status is MessageStatus.PENDING:
            return MessageStatus.PENDING
        if not status.on_network:
            posted.rejection = Rejection(501, "the message to forget was not found")
            return MessageStatus.REJECTED
        owner = self.messages[posted.target].payer
        if posted.sender != owner and "INSTANCE" not in self._grants(posted, owner):
            posted.rejection = Rejection(2, "the payer has not authorised this key")
            return MessageStatus.REJECTED
        self.statuses[posted.target] = MessageStatus.FORGOTTEN
        self._book(posted.target)
        return MessageStatus.PROCESSED

    def _grants(self, posted: Posted, owner: str = "") -> frozenset[str]:
        return self.grants.get((owner or posted.payer, posted.sender), frozenset())

    def _book(self, item_hash: str) -> None:
        posted, now = self.messages[item_hash], self._clock.now()
        units = int(self._rate(posted) * Decimal((now - posted.received_at).total_seconds()))
        self.booked[posted.payer].append(Expense(f"{item_hash[:16]}.0", now, item_hash, units))

    def _publish(self, posted: Posted) -> MessageStatus:
        """An entry of an AGGREGATE; one whose date is not later than the last one is processed and ignored."""
        item_hash, n, expires_at = posted.content["entry"]
        at = datetime.fromisoformat(posted.content["time"])
        if all(at > earlier for earlier in self.dates[posted.sender]):
            entries = self.aggregates[posted.sender]
            entries[item_hash, n] = datetime.fromisoformat(expires_at)
            self.dates[posted.sender].append(at)
        return MessageStatus.PROCESSED

    def _rate(self, posted: Posted) -> Decimal:
        return self._of_one(posted.content) * int(posted.content.get("vcpus", 1))

    def _of_one(self, content: dict[str, Any]) -> Decimal:
        ada = self.gpus[ADA.model.lower()]
        return ada.rate / ada.compute_units if "gpu" in content else self.cu_rate

    async def status(self, item_hash: str) -> MessageStatus:
        """404 is UNKNOWN."""
        leave = await self._enter("status", item_hash)
        leave()
        for waiting, posted in self.of_kind("FORGET").items():
            if self.statuses[waiting] is MessageStatus.PENDING:
                self.statuses[waiting] = self._forget(posted)
        return self.statuses.get(item_hash, MessageStatus.UNKNOWN)

    async def opinions(self, item_hash: str) -> tuple[MessageStatus, ...]:
        """This CCN's, and that of another one if there is one."""
        said = await self.status(item_hash)
        return (said,) if self.elsewhere is None else (said, self.elsewhere.get(item_hash, said))

    async def which(self, item_hashes: Sequence[str], status: MessageStatus) -> frozenset[str]:
        """Those of the listing with this status; PROCESSED stands for removing as well."""
        leave = await self._enter("which", ",".join(item_hashes))
        leave()
        listed = {status} | ({MessageStatus.REMOVING} if status is MessageStatus.PROCESSED else set())
        instances = self.of_kind("INSTANCE")
        return frozenset(h for h in item_hashes if h in instances and self.statuses[h] in listed)

    async def rejection(self, item_hash: str) -> Rejection | None:
        """Only of what is rejected."""
        leave = await self._enter("rejection", item_hash)
        leave()
        rejected = self.statuses.get(item_hash) is MessageStatus.REJECTED
        return self.messages[item_hash].rejection if rejected else None

    async def sender(self, item_hash: str) -> str | None:
        """Of whatever a CCN has seen."""
        leave = await self._enter("sender", item_hash)
        leave()
        return self.messages[item_hash].sender if item_hash in self.messages else None

    async def instances(self, sender: str) -> list[NetworkInstance]:
        """Processed and removing ones of this sender."""
        leave = await self._enter("instances", sender)
        leave()
        return [
            NetworkInstance(
                item_hash,
                self.messages[item_hash].sender,
                self.messages[item_hash].payer,
                None,  # a CCN's listing does not tell when a message was received
                _stamp(self.messages[item_hash].content.get("stamp")),
                self.messages[item_hash].content.get("crn", ""),
                signed_at=self.messages[item_hash].received_at,
                vcpus=self.messages[item_hash].content.get("vcpus", 1),
                memory_mib=self.messages[item_hash].content.get("memory", 2048),
                disk_mib=self.messages[item_hash].content.get("vcpus", 1) * 20_480,
                rootfs=self.messages[item_hash].content.get("rootfs", ""),
                gpus=int("gpu" in self.messages[item_hash].content),
            )
            for item_hash in self.billed()
            if self.messages[item_hash].sender == sender
        ]

    async def published_ends(self, owner: str) -> dict[str, PublishedEnd]:
        """The highest numbers of the AGGREGATE."""
        leave = await self._enter("published_ends", owner)
        leave()
        entries = sorted(self.aggregates[owner].items(), key=lambda entry: entry[0][1])
        return {item_hash: PublishedEnd(n, expires_at) for (item_hash, n), expires_at in entries}

    async def granted(self, payer: str, agent: str) -> frozenset[str]:
        """As the test has granted it."""
        leave = await self._enter("granted", agent)
        leave()
        return self.grants.get((payer, agent), frozenset())

    async def removing(self, sender: str) -> frozenset[str]:
        """Those of this sender that are being removed."""
        leave = await self._enter("removing", sender)
        leave()
        ours = {
            item_hash for item_hash, posted in self.of_kind("INSTANCE").items() if posted.sender == sender
        }
        return frozenset(item for item in ours if self.statuses[item] is MessageStatus.REMOVING)

    async def network_time(self) -> datetime:
        """The CCN's clock, whole seconds."""
        leave = await self._enter("network_time", "")
        leave()
        return self._clock.now().replace(microsecond=0)

    # ------------------------------------------------------------------ Market

    async def balance(self, payer: str) -> int:
        """Units of this very address; another case is another account."""
        leave = await self._enter("balance", payer)
        leave()
        return self.credits[payer]

    async def expenses(self, payer: str, since: datetime) -> list[Expense]:
        """What was booked since then."""
        leave = await self._enter("expenses", payer)
        leave()
        return [expense for expense in self.booked[payer] if expense.at >= since]

    async def rates(self, payer: str) -> dict[str, Decimal]:
        """Of everything that is billed."""
        leave = await self._enter("rates", payer)
        leave()
        billed = {item_hash: self.messages[item_hash] for item_hash in self.billed()}
        return {
            item_hash: self._rate(posted) for item_hash, posted in billed.items() if posted.payer == payer
        }

    async def burn(self, payer: str) -> Decimal:
        """Of everything that is billed."""
        leave = await self._enter("burn", payer)
        leave()
        billed = [self.messages[item_hash] for item_hash in self.billed()]
        return sum((self._rate(posted) for posted in billed if posted.payer == payer), Decimal())

    async def price(self) -> Price:
        """The live price of one compute unit."""
        leave = await self._enter("price", "")
        leave()
        return Price(self.cu_rate, self.gpus)

    async def estimate(self, message: SignedMessage) -> Decimal:
        """What this very INSTANCE costs per second."""
        leave = await self._enter("estimate", message.item_hash)
        leave()
        content = json.loads(message.body)["content"]
        return self._of_one(content) * int(content["vcpus"]) * self.estimate_factor

    async def crns(self) -> CrnList:
        """The list."""
        leave = await self._enter("crns", "")
        leave()
        return CrnList(self.crn_list, 0.0)

    def images(self) -> dict[str, str]:
        """Three images."""
        return {"ubuntu22": "a" * 64, "ubuntu24": "b" * 64, "debian12": "c" * 64}

    # ------------------------------------------------------------------ Hosts

    async def reserve(self, url: str, create: SignedMessage) -> Reserved:
        """Signed, so it needs the key; only a GPU is kept, and only for a payer who signs."""
        said = json.loads(create.body)
        if "gpu" not in said["content"] or said["payer"] != self.address:
            return Reserved(ReserveOutcome.NOT_NEEDED)
        leave = await self._enter("reserve", create.item_hash)
        if self._mood(url) == "gave_its_gpu_away":
            return Reserved(ReserveOutcome.REFUSED, "Failed to reserves all resources")
        leave()
        return Reserved(ReserveOutcome.RESERVED)

    async def notify(self, url: str, item_hash: str) -> Notified:
        """Unauthenticated, idempotent, and it resurrects."""
        leave = await self._enter("notify", item_hash)
        mood = self._mood(url)
        if mood == "refuses":
            return Notified(
                NotifyOutcome.REFUSED, "This CRN cannot host the requested instance at this time."
            )
        if mood == "no_credits":
            return Notified(NotifyOutcome.NO_CREDITS, "Insufficient balance")
        if not self.statuses.get(item_hash, MessageStatus.UNKNOWN).on_network:
            return Notified(NotifyOutcome.TOO_EARLY, "Aleph message not found")
        self.pools[url].add(item_hash)
        if self.boots_slowly:
            self.booting.add(item_hash)
        leave()
        return Notified(NotifyOutcome.ACCEPTED)

    async def execution(self, url: str, item_hash: str) -> Execution | None:
        """None: the list answered, and it is not on it."""
        leave = await self._enter("execution", item_hash)
        self._mood(url)
        leave()
        return self._listed(url, item_hash)

    def _listed(self, url: str, item_hash: str) -> Execution | None:
        if item_hash not in self.pools[url]:
            return None
        if item_hash in self.booting:
            return Execution(running=True)
        return Execution(
            True, "203.0.113.7", 24_000 + sorted(self.pools[url]).index(item_hash), "2001:db8::7"
        )

    async def executions(self, url: str, item_hashes: Sequence[str]) -> dict[str, Execution]:
        """One list for many."""
        leave = await self._enter("executions", url)
        self._mood(url)
        leave()
        found = {item: self._listed(url, item) for item in item_hashes}
        return {item: execution for item, execution in found.items() if execution is not None}

    async def erase(self, url: str, item_hash: str) -> EraseOutcome:
        """404 = not in the pool. Signed, so it needs the key."""
        if self.key_trouble:
            raise KeyMissing(self.key_trouble)
        leave = await self._enter("erase", item_hash)
        mood = self._mood(url)
        if mood == "refuses_erase":
            return EraseOutcome.REFUSED
        if item_hash not in self.pools[url]:
            return EraseOutcome.NOT_THERE
        if mood != "keeps_listing":
            self.pools[url].discard(item_hash)
        leave()
        return EraseOutcome.ERASED

    async def restart(self, url: str, item_hash: str, *, wipe: bool) -> RestartOutcome:
        """Signed, so it needs the key; it boots again with its ports."""
        if self.key_trouble:
            raise KeyMissing(self.key_trouble)
        leave = await self._enter("reinstall" if wipe else "reboot", item_hash)
        if self._mood(url) == "refuses_erase":
            return RestartOutcome.REFUSED
        if item_hash not in self.pools[url]:
            return RestartOutcome.NOT_OFFERED
        leave()
        return RestartOutcome.DONE

    async def ssh_answers(self, host: str, port: int) -> bool:
        """As the test says."""
        leave = await self._enter("ssh_answers", f"{host}:{port}")
        leave()
        return self.ssh_up

    def _mood(self, url: str) -> CrnMood:
        crn_hash = next((crn.hash for crn in self.crn_list if crn.url == url), "")
        mood = self.crn_does.get(crn_hash, "accepts")
        if mood == "silent":
            raise NetworkTrouble(url, "no answer in time")
        return mood


def _stamp(said: Any) -> Stamp | None:
    if isinstance(said, list):
        return Stamp(said[0], said[1], datetime.fromisoformat(said[2]))
    return said if isinstance(said, Stamp) else None
