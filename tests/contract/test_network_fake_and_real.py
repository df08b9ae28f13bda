"""One contract, two networks: what services are tested over in memory behaves as devnet does over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.adapters.aleph.network import open_network
from aleph_agentd.adapters.aleph.settings import NetworkSettings
from aleph_agentd.domain.model import Crn, SignedMessage, Stamp
from aleph_agentd.domain.money import hourly_units
from aleph_agentd.ports import (
    EraseOutcome,
    Hosts,
    InstanceSpec,
    KeyMissing,
    Market,
    Messages,
    MessageStatus,
    NotifyOutcome,
    Signer,
)
from support.clock import ManualClock
from support.devnet import DevnetProcess
from support.fake_network import ADA, FakeNetwork
from support.network import HASH, SSH_KEY

EXPIRES = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
AGES_S = 1800.0
"""Longer than any retry of a CCN."""


@dataclass
class Ports:
    """The four ports of one network, whichever it is, and what moves its time."""

    signer: Signer
    messages: Messages
    market: Market
    hosts: Hosts
    advance: Callable[[float], Awaitable[Any]]

    async def crn(self) -> Crn:
        """A CRN that takes VMs."""
        return (await self.market.crns()).crns[0]

    async def sign(self, **changes: Any) -> SignedMessage:
        """A signed INSTANCE of one compute unit."""
        facts: dict[str, Any] = {
            "payer": self.signer.address,
            "crn": await self.crn(),
            "vcpus": 1,
            "memory_mib": 2048,
            "disk_mib": 20480,
            "rootfs": self.market.images()["ubuntu22"],
            "ssh_pubkey": SSH_KEY,
            "stamp": Stamp("home-1", "0" * 32, EXPIRES),
        }
        return await self.signer.sign_instance(InstanceSpec(**(facts | changes)))

    async def create(self) -> str:
        """An INSTANCE that the network has processed."""
        message = await self.sign()
        await self.messages.post(message)
        assert await self.messages.status(message.item_hash) is MessageStatus.PROCESSED
        return message.item_hash

    async def forget(self, item_hash: str) -> MessageStatus:
        """End its billing; returns its status then."""
        [forget] = await self.signer.sign_forgets(item_hash, self.signer.address, 1)
        await self.messages.post(forget)
        return await self.messages.status(item_hash)


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    """One local network for all tests of this file."""
    with DevnetProcess(tmp_path_factory.mktemp("devnet"), boot_seconds=0) as started:
        yield started


def _in_memory() -> Ports:
    clock = ManualClock()
    fake = FakeNetwork(clock)

    async def advance(seconds: float) -> None:
        clock.forward(seconds=seconds)

    return Ports(fake, fake, fake, fake, advance)


@pytest.fixture(params=["in memory", "devnet"])
async def network(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Ports]:
    """Each test runs over both."""
    if request.param == "in memory":
        yield _in_memory()
        return
    devnet: DevnetProcess = request.getfixturevalue("devnet")
    monkeypatch.chdir(tmp_path)  # restored at the end: loading the SDK changes to `/`
    settings = NetworkSettings(
        key_path=Path(devnet.account("funded")["key_file"]),
        api_hosts=(devnet.api_host,),
        crn_list_url=devnet.crn_list_url,
        aggregate_address=devnet.aggregate_address,
        allow_local=True,
    )
    async with open_network(settings) as real:
        moved = 0.0

        async def advance(seconds: float) -> None:
            nonlocal moved
            moved += seconds
            await devnet.call(devnet.advance, seconds)

        yield Ports(real.signer, real.messages, real.market, real.hosts, advance)
        await advance(-moved)  # CRNs take operations only within two minutes of their clock


async def test_a_hash_that_nobody_posted_is_unknown(network: Ports) -> None:
    """404 is an answer, not an error; a signature alone tells the network nothing."""
    assert await network.messages.status(HASH) is MessageStatus.UNKNOWN
    assert await network.messages.rejection(HASH) is None
    message = await network.sign()
    assert await network.messages.status(message.item_hash) is MessageStatus.UNKNOWN


async def test_each_signature_is_another_message(network: Ports) -> None:
    """A create is not retry-safe; its bytes are."""
    first, second = await network.sign(), await network.sign()
    assert first.item_hash != second.item_hash


async def test_the_same_bytes_twice_are_one_vm(network: Ports) -> None:
    """Posting again is harmless."""
    message = await network.sign()
    await network.messages.post(message)
    await network.messages.post(message)
    listed = await network.messages.instances(network.signer.address)
    assert [item.item_hash for item in listed].count(message.item_hash) == 1
    await network.forget(message.item_hash)


async def test_a_listing_holds_what_lives_and_its_stamp(network: Ports) -> None:
    """Our sender's, with what the row can be rebuilt from; forgotten ones are not in it."""
    item_hash = await network.create()
    [item] = [i for i in await network.messages.instances(network.signer.address) if i.item_hash == item_hash]
    assert item.sender == item.payer == network.signer.address
    assert item.stamp == Stamp("home-1", "0" * 32, EXPIRES)
    await network.forget(item_hash)
    listed = await network.messages.instances(network.signer.address)
    assert item_hash not in [i.item_hash for i in listed]
    assert await network.messages.instances("0x" + "0" * 40) == []


async def test_a_listing_tells_a_gpu_and_the_costs_its_price(network: Ports) -> None:
    """A row that is written from it would else have the price of a VM without one."""
    message = await network.sign(gpu=ADA, vcpus=3, memory_mib=3 * 6144, disk_mib=3 * 61_440)
    await network.messages.post(message)
    plain = await network.create()
    listed = await network.messages.instances(network.signer.address)
    assert {item.item_hash: item.gpus for item in listed} == {message.item_hash: 1, plain: 0}
    rates = await network.market.rates(network.signer.address)
    hourly = {item_hash: hourly_units(rate) for item_hash, rate in rates.items()}
    assert hourly == {message.item_hash: 3 * 43_125, plain: 14_250}
    for item_hash in hourly:
        await network.forget(item_hash)


async def test_a_forget_ends_billing_at_once_and_a_second_one_changes_nothing(network: Ports) -> None:
    """Verified by the status."""
    item_hash = await network.create()
    assert await network.forget(item_hash) is MessageStatus.FORGOTTEN
    assert await network.forget(item_hash) is MessageStatus.FORGOTTEN


async def test_many_messages_are_asked_about_at_once(network: Ports) -> None:
    """Who is listed with a status is so; who is not may be anything."""
    lives, ended = await network.create(), await network.create()
    await network.forget(ended)
    asked = [lives, ended, HASH]
    assert await network.messages.which(asked, MessageStatus.PROCESSED) == {lives}
    assert await network.messages.which(asked, MessageStatus.FORGOTTEN) == {ended}


async def test_one_ccn_has_one_opinion(network: Ports) -> None:
    """At least one; a second host would have its own."""
    assert await network.messages.opinions(HASH) == (MessageStatus.UNKNOWN,)
    item_hash = await network.create()
    assert await network.messages.opinions(item_hash) == (MessageStatus.PROCESSED,)


async def test_forgets_of_one_vm_differ_so_that_one_can_follow_a_burnt_one(network: Ports) -> None:
    """rules.md 3: posted before its target it is refused, and the same bytes do nothing afterwards."""
    message = await network.sign()
    burnt, spare = await network.signer.sign_forgets(message.item_hash, network.signer.address, 2)
    assert burnt.item_hash != spare.item_hash
    await network.messages.post(burnt)
    await network.advance(AGES_S)
    assert await network.messages.status(burnt.item_hash) is MessageStatus.REJECTED
    await network.messages.post(message)
    await network.messages.post(burnt)
    assert await network.messages.status(message.item_hash) is MessageStatus.PROCESSED
    await network.messages.post(spare)
    assert await network.messages.status(message.item_hash) is MessageStatus.FORGOTTEN


async def test_who_cannot_pay_a_day_is_rejected_with_the_numbers(network: Ports) -> None:
    """The 24 h rule: error 6, whatever the lease."""
    message = await network.sign()
    if isinstance(network.messages, FakeNetwork):
        network.messages.credits[network.signer.address] = 1000
    else:
        balance = await network.market.balance(network.signer.address)
        message = await network.sign(memory_mib=(balance // (14_250 * 24) + 1) * 2048)
    await network.messages.post(message)
    assert await network.messages.status(message.item_hash) is MessageStatus.REJECTED
    rejection = await network.messages.rejection(message.item_hash)
    assert rejection is not None
    assert rejection.error_code == 6
    assert rejection.required_units is not None
    assert rejection.balance_units is not None
    assert rejection.required_units > rejection.balance_units


async def test_a_vm_on_its_crn_from_notify_to_erase(network: Ports) -> None:
    """Too early, accepted, listed with its address; erased, not there, and absent from the list."""
    crn, message = await network.crn(), await network.sign()
    notify = network.hosts.notify
    assert (await notify(crn.url, message.item_hash)).outcome is NotifyOutcome.TOO_EARLY
    await network.messages.post(message)
    assert await network.hosts.execution(crn.url, message.item_hash) is None
    for _ in range(2):  # idempotent
        assert (await notify(crn.url, message.item_hash)).outcome is NotifyOutcome.ACCEPTED
    async with asyncio.timeout(20):
        while not ((seen := await network.hosts.execution(crn.url, message.item_hash)) and seen.ssh_port):
            await asyncio.sleep(0.05)
    assert seen.running
    assert seen.host_ipv4
    assert seen.ssh_port >= 24_000
    await network.forget(message.item_hash)
    assert await network.hosts.erase(crn.url, message.item_hash) is EraseOutcome.ERASED
    async with asyncio.timeout(20):
        while await network.hosts.execution(crn.url, message.item_hash) is not None:
            await asyncio.sleep(0.05)
    assert await network.hosts.erase(crn.url, message.item_hash) is EraseOutcome.NOT_THERE


async def test_one_list_tells_of_those_vms_that_a_crn_runs(network: Ports) -> None:
    """And nothing that lives well is being removed."""
    crn, runs, waits = await network.crn(), await network.create(), await network.create()
    await network.hosts.notify(crn.url, runs)
    assert set(await network.hosts.executions(crn.url, [runs, waits, HASH])) == {runs}
    assert await network.messages.removing(network.signer.address) == frozenset()


async def test_the_estimate_is_compute_units_times_the_price(network: Ports) -> None:
    """Per second, within a thousandth; 1 CU costs 14,250 units an hour."""
    price = await network.market.price()
    assert hourly_units(price.cu_rate) == 14_250
    message = await network.sign(vcpus=4, memory_mib=4 * 2048, disk_mib=4 * 20480)
    estimate = await network.market.estimate(message)
    assert abs(estimate - 4 * price.cu_rate) < price.cu_rate / 1000
    assert await network.messages.status(message.item_hash) is MessageStatus.UNKNOWN, "asking is not posting"


async def test_the_market_tells_whole_units_crns_and_images(network: Ports) -> None:
    """What a plan is made of."""
    balance = await network.market.balance(network.signer.address)
    assert isinstance(balance, int)
    assert balance > 0
    listed = await network.market.crns()
    assert len(listed.crns) >= 3
    assert listed.age_s >= 0
    assert all(crn.url.startswith("http") and len(crn.hash) == 64 for crn in listed.crns)
    assert {"ubuntu22", "ubuntu24", "debian12"} <= set(network.market.images())


async def test_the_market_tells_what_the_payer_s_vms_cost_each_and_together(network: Ports) -> None:
    """Until they are forgotten."""
    payer, before = network.signer.address, await network.market.rates(network.signer.address)
    message = await network.sign()
    await network.messages.post(message)
    rates = await network.market.rates(payer)
    assert rates.keys() - before.keys() == {message.item_hash}
    assert abs(rates[message.item_hash] * 3600 - 14_250) < 1
    assert abs(await network.market.burn(payer) - sum(rates.values())) < Decimal("0.001")
    await network.forget(message.item_hash)
    assert (await network.market.rates(payer)).keys() == before.keys()


async def test_the_network_s_clock_is_aware_and_moves(network: Ports) -> None:
    """A second source of time."""
    before = await network.messages.network_time()
    await network.advance(60)
    assert before.utcoffset() == timedelta(0)
    assert await network.messages.network_time() >= before + timedelta(seconds=59)


async def test_nothing_answers_on_a_port_without_ssh(network: Ports) -> None:
    """False, never an exception."""
    if isinstance(network.hosts, FakeNetwork):
        network.hosts.ssh_up = False
    assert await network.hosts.ssh_answers("127.0.0.1", 1) is False


async def test_without_a_key_nothing_is_signed(network: Ports, tmp_path: Path) -> None:
    """KeyMissing, and the trouble says why in one line."""
    if isinstance(network.signer, FakeNetwork):
        network.signer.key_trouble = "no key file"
        signer: Signer = network.signer
        await _refuses_to_sign(signer)
        return
    settings = NetworkSettings(
        key_path=tmp_path / "none.key", api_hosts=("http://127.0.0.1:1",), allow_local=True
    )
    async with open_network(settings) as keyless:
        await _refuses_to_sign(keyless.signer)


async def _refuses_to_sign(signer: Signer) -> None:
    assert signer.trouble
    assert "\n" not in signer.trouble
    with pytest.raises(KeyMissing):
        await signer.sign_forgets(HASH, "0xPayer", 1)
    with pytest.raises(KeyMissing):
        _ = signer.address


async def test_an_ended_vm_is_among_the_payer_s_expenses(network: Ports) -> None:
    """With what it cost, and when that was booked; an account without a history has none."""
    before, me = await network.messages.network_time(), network.signer.address
    item_hash = await network.create()
    await network.advance(5400)
    await network.forget(item_hash)
    booked = [e for e in await network.market.expenses(me, before) if e.item_hash == item_hash]
    cost = (await network.market.price()).cu_rate * 5400
    assert cost <= sum(expense.units for expense in booked) <= cost * 2
    assert all(expense.at >= before for expense in booked)
    assert len({expense.entry for expense in booked}) == len(booked) > 0
    later = await network.messages.network_time() + timedelta(seconds=2)
    assert await network.market.expenses(me, later) == []
    assert await network.market.expenses("0x" + "0" * 40, before) == []


async def test_the_sender_of_a_message_is_told_whatever_became_of_it(network: Ports) -> None:
    """Also once it is forgotten; of what nobody knows, nothing is."""
    item_hash = await network.create()
    assert await network.messages.sender(item_hash) == network.signer.address
    await network.forget(item_hash)
    assert await network.messages.sender(item_hash) == network.signer.address
    assert await network.messages.sender(HASH) is None


async def test_a_payer_s_grants_are_told_by_the_agent(network: Ports, request: pytest.FixtureRequest) -> None:
    """Nobody's grants are none, and one's own account needs none."""
    payer, agent = "0xPayer", "0xAgent"
    if isinstance(network.messages, FakeNetwork):
        network.messages.grants[payer, agent] = frozenset({"INSTANCE", "FORGET", "AGGREGATE"})
    else:
        net: DevnetProcess = request.getfixturevalue("devnet")
        payer, agent = (net.account(role)["address"] for role in ("human", "agent"))
    assert await network.messages.granted(payer, agent) == {"INSTANCE", "FORGET", "AGGREGATE"}
    assert await network.messages.granted(payer, network.signer.address) == frozenset()
    assert await network.messages.granted(agent, payer) == frozenset()
