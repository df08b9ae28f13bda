"""The dead-man's switch: what is due ends, once, by the next FORGET that works; everything else is left alone."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from aleph_agentd.domain import escrow
from aleph_agentd.domain.escrow import KillSwitch, NotOurs
from aleph_agentd.domain.model import PublishedEnd, SignedMessage
from aleph_agentd.ports import MessageStatus, NetworkTrouble
from aleph_agentd.services import escrow_reaper, kill_switches
from aleph_agentd.services.escrow_reaper import EscrowReaper, Outcome
from support.clock import NOON, ManualClock
from support.escrow import HOSTS, SENDER, VM, a_switch
from support.inventory import a_hash

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class Ccns:
    """The part of the network that a FORGET meets."""

    def __init__(self) -> None:
        self.vm = MessageStatus.PROCESSED
        self.burnt: set[str] = set()
        self.posted: list[str] = []
        self.ends: dict[str, dict[str, PublishedEnd] | None] = {host: {} for host in HOSTS}
        """What each host says was published; None: it does not answer."""
        self.time: datetime | None = NOON
        self.failing = 0

    def open(self, hosts: Sequence[str], local: bool) -> "Door":
        """The network through these hosts."""
        assert not local
        return Door(self, hosts)


class Door:
    """Messages through some hosts."""

    def __init__(self, net: Ccns, hosts: Sequence[str]) -> None:
        self.net, self.hosts = net, hosts

    async def post(self, message: SignedMessage) -> None:
        """A FORGET."""
        if self.net.failing:
            self.net.failing -= 1
            raise NetworkTrouble("POST", "connection refused")
        self.net.posted.append(message.item_hash)
        if message.item_hash not in self.net.burnt and self.net.vm.on_network:
            self.net.vm = MessageStatus.FORGOTTEN

    async def status(self, item_hash: str) -> MessageStatus:
        """Of the VM, or of a FORGET."""
        if item_hash == VM:
            return self.net.vm
        return MessageStatus.REJECTED if item_hash in self.net.burnt else MessageStatus.PROCESSED

    async def published_ends(self, owner: str) -> dict[str, PublishedEnd]:
        """The extensions, from the first host that answers."""
        assert owner == SENDER
        for host in self.hosts:
            if (ends := self.net.ends[host]) is not None:
                return ends
        raise NetworkTrouble("GET", "no answer")

    async def network_time(self) -> datetime:
        """The Date."""
        if self.net.time is None:
            raise NetworkTrouble("GET", "no answer")
        return self.net.time


@pytest.fixture
def ccns(monkeypatch: pytest.MonkeyPatch) -> Ccns:
    """A network, and no pauses."""
    monkeypatch.setattr(kill_switches, "PAUSES_S", (0, 0))
    monkeypatch.setattr(escrow_reaper, "PAUSE_S", 0)
    return Ccns()


async def look(ccns: Ccns, *files: KillSwitch | str | NotOurs, now: datetime = NOON) -> list[Outcome]:
    """One run over these files, which are called 0, 1, 2, …"""

    def read(name: str) -> str:
        file = files[int(name)]
        if isinstance(file, NotOurs):
            raise file
        return escrow.write(file) if isinstance(file, KillSwitch) else file

    reaper = EscrowReaper(ManualClock(now), ccns.open)
    return [outcome async for outcome in reaper.run([str(n) for n in range(len(files))], read)]


async def test_what_is_due_ends(ccns: Ccns) -> None:
    """One FORGET is enough, and a second run posts nothing."""
    (done,) = await look(ccns, a_switch())
    assert (done.confirmed, done.text) == (True, "ended: the network says forgotten")
    (again,) = await look(ccns, a_switch())
    assert (again.confirmed, again.text) == (True, "is forgotten already")
    assert len(ccns.posted) == 1


async def test_what_is_not_due_is_left_alone_and_is_no_failure(ccns: Ccns) -> None:
    """Nothing is posted a second too early."""
    (done,) = await look(ccns, a_switch(ends=timedelta(seconds=1)))
    assert done.confirmed
    assert "ends 2026-11-23T12:00:01Z" in done.text
    assert ccns.posted == []


async def test_burnt_forgets_are_skipped(ccns: Ccns) -> None:
    """The next one is tried in the same run."""
    switch = a_switch()
    ccns.burnt = {forget.item_hash for forget in switch.forgets[:2]}
    (done,) = await look(ccns, switch)
    assert done.confirmed
    assert ccns.posted == [forget.item_hash for forget in switch.forgets]


async def test_a_vm_whose_forgets_are_all_burnt_is_not_called_over(ccns: Ccns) -> None:
    """Nothing is done on hope."""
    switch = a_switch()
    ccns.burnt = {forget.item_hash for forget in switch.forgets}
    (done,) = await look(ccns, switch)
    assert not done.confirmed
    assert "still processed" in done.text


@pytest.mark.parametrize("status", [MessageStatus.UNKNOWN, MessageStatus.REJECTED, MessageStatus.PENDING])
async def test_nothing_is_posted_for_a_vm_that_a_forget_cannot_reach(
    ccns: Ccns, status: MessageStatus
) -> None:
    """It would burn the FORGET (rules.md 3); and it is not proof that the VM is gone."""
    ccns.vm = status
    (done,) = await look(ccns, a_switch())
    assert not done.confirmed
    assert ccns.posted == []


async def test_a_lost_connection_is_tried_again_within_bounds(ccns: Ccns) -> None:
    """Twice; a network that stays away is a failure that says so."""
    ccns.failing = 2
    (done,) = await look(ccns, a_switch())
    assert done.confirmed
    ccns.vm, ccns.failing = MessageStatus.PROCESSED, 100
    (done,) = await look(ccns, a_switch())
    assert (done.confirmed, ccns.failing) == (False, 97)
    assert "connection refused" in done.text


@pytest.mark.parametrize("host", HOSTS)
async def test_an_extension_that_any_ccn_knows_of_is_honoured(ccns: Ccns, host: str) -> None:
    """A stale file must not end an extended VM (rules.md 9)."""
    ccns.ends[host] = {VM: PublishedEnd(2, NOON + HOUR)}
    (done,) = await look(ccns, a_switch())
    assert done.confirmed
    assert "ends 2026-11-23T13:00:00Z" in done.text
    assert ccns.posted == []
    ccns.time = NOON + HOUR
    assert "ended" in (await look(ccns, a_switch(), now=NOON + HOUR))[0].text


async def test_an_extension_of_another_vm_means_nothing(ccns: Ccns) -> None:
    """Only its own."""
    ccns.ends[HOSTS[0]] = {a_hash("other"): PublishedEnd(1, NOON + HOUR)}
    assert "ended" in (await look(ccns, a_switch()))[0].text


async def test_extensions_that_cannot_be_read_hold_up_the_end_for_an_hour_at_most(ccns: Ccns) -> None:
    """Then the file's own end counts."""
    ccns.ends = dict.fromkeys(HOSTS, None)
    (done,) = await look(ccns, a_switch(ends=-59 * MINUTE))
    assert not done.confirmed
    assert ccns.posted == []
    (done,) = await look(ccns, a_switch(ends=-60 * MINUTE))
    assert "ended" in done.text


async def test_a_local_clock_in_1970_still_ends_what_is_due(ccns: Ccns) -> None:
    """The network's date is believed when ours is more than ten minutes off (rules.md 19)."""
    (done,) = await look(ccns, a_switch(), now=datetime.fromtimestamp(0, NOON.tzinfo))
    assert "ended" in done.text


async def test_a_local_clock_in_the_future_ends_nothing_early(ccns: Ccns) -> None:
    """Nor does one that is a few minutes off matter; it is its own clock that counts then."""
    (done,) = await look(ccns, a_switch(ends=HOUR), now=NOON + 2 * HOUR)
    assert "ends 2026" in done.text
    (done,) = await look(ccns, a_switch(ends=5 * MINUTE), now=NOON + 9 * MINUTE)
    assert "ended" in done.text


async def test_a_network_without_a_date_leaves_the_local_clock(ccns: Ccns) -> None:
    """It is all there is."""
    ccns.time = None
    assert "ended" in (await look(ccns, a_switch()))[0].text


async def test_a_bad_file_does_not_hold_up_the_good_ones(ccns: Ccns) -> None:
    """Each has its line; the run as a whole has not confirmed everything."""
    outcomes = await look(ccns, "{}", NotOurs("not a regular file"), a_switch())
    told = {outcome.name: (outcome.confirmed, outcome.text.split(":")[0]) for outcome in outcomes}
    assert told == {"0": (False, "refused"), "1": (False, "refused"), "2": (True, "ended")}
