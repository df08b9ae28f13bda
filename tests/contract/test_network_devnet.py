"""The ports' contract over a whole network: every method against devnet, and the unmodified SDK inside."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest

from aleph_agentd.adapters.aleph.network import Network, open_network
from aleph_agentd.adapters.aleph.settings import OS_IMAGES, NetworkSettings, Timeouts
from aleph_agentd.domain.model import Crn, SignedMessage, Stamp
from aleph_agentd.domain.placement import Need, fits
from aleph_agentd.ports import (
    EraseOutcome,
    Execution,
    InstanceSpec,
    MessageStatus,
    NetworkTrouble,
    NotifyOutcome,
    Rejection,
    ReserveOutcome,
    RestartOutcome,
)
from support.devnet import DevnetProcess
from support.network import HASH, SSH_KEY

pytest_plugins = ["support.network_fixtures"]

T = TypeVar("T")
POST: dict[str, Any] = {"node": "ccn", "method": "POST", "path": "/api/v0/messages"}
EXPIRES = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    """One local network for all tests of this file."""
    with DevnetProcess(tmp_path_factory.mktemp("devnet"), boot_seconds=0.5) as started:
        yield started


@pytest.fixture(autouse=True)
def _without_faults(devnet: DevnetProcess) -> Iterator[None]:
    """Faults end with their test."""
    yield
    devnet.clear_faults()


def _settings(devnet: DevnetProcess, role: str, **timeouts: float) -> NetworkSettings:
    return NetworkSettings(
        key_path=Path(devnet.account(role)["key_file"]),
        api_hosts=(devnet.api_host,),
        crn_list_url=devnet.crn_list_url,
        aggregate_address=devnet.aggregate_address,
        allow_local=True,
        timeouts=replace(Timeouts(), **timeouts),
    )


@pytest.fixture
async def network(devnet: DevnetProcess) -> AsyncIterator[Network]:
    """The adapters with the funded account's key."""
    async with open_network(_settings(devnet, "funded")) as opened:
        yield opened


def _charges(devnet: DevnetProcess, item_hash: str) -> list[dict[str, Any]]:
    return [charge for charge in devnet.state()["charges"] if charge["item_hash"] == item_hash]


async def _first_crn(network: Network) -> Crn:
    return (await network.market.crns()).crns[0]


async def _sign(network: Network, **changes: Any) -> SignedMessage:
    facts: dict[str, Any] = {
        "payer": network.signer.address,
        "crn": await _first_crn(network),
        "vcpus": 1,
        "memory_mib": 2048,
        "disk_mib": 20480,
        "rootfs": OS_IMAGES["ubuntu22"],
        "ssh_pubkey": SSH_KEY,
        "stamp": Stamp("home-1", "0" * 32, EXPIRES),
    }
    return await network.signer.sign_instance(InstanceSpec(**(facts | changes)))


async def _create(network: Network, **changes: Any) -> str:
    message = await _sign(network, **changes)
    await network.messages.post(message)
    assert await network.messages.status(message.item_hash) is MessageStatus.PROCESSED
    return message.item_hash


async def _forget(network: Network, item_hash: str) -> None:
    (forget,) = await network.signer.sign_forgets(item_hash, network.signer.address, 1)
    await network.messages.post(forget)


async def _eventually(ask: Callable[[], Awaitable[T]], wanted: Callable[[T], Any]) -> T:
    async with asyncio.timeout(30):
        while not wanted(found := await ask()):
            await asyncio.sleep(0.05)
        return found


async def test_a_vm_lives_and_ends_through_the_ports_alone(devnet: DevnetProcess, network: Network) -> None:
    """Create, notify, address, SSH, FORGET, erase: and devnet's truth agrees."""
    crn = await _first_crn(network)
    item_hash = await _create(network)
    assert (await network.hosts.notify(crn.url, item_hash)).outcome is NotifyOutcome.ACCEPTED
    booted = await _eventually(
        lambda: network.hosts.execution(crn.url, item_hash),
        lambda found: found is not None and found.ssh_port,
    )
    assert booted is not None
    assert booted.running
    assert await _eventually(lambda: network.hosts.ssh_answers(booted.host_ipv4, booted.ssh_port), bool)

    await _forget(network, item_hash)
    assert await network.messages.status(item_hash) is MessageStatus.FORGOTTEN
    for wipe in (False, True):
        assert await network.hosts.restart(crn.url, item_hash, wipe=wipe) is RestartOutcome.DONE
    assert await network.hosts.erase(crn.url, item_hash) is EraseOutcome.ERASED
    assert await network.hosts.execution(crn.url, item_hash) is None
    assert await network.hosts.erase(crn.url, item_hash) is EraseOutcome.NOT_THERE
    assert await network.hosts.restart(crn.url, item_hash, wipe=False) is RestartOutcome.NOT_OFFERED
    assert not await network.hosts.ssh_answers(booted.host_ipv4, booted.ssh_port)
    assert [charge["to"] is not None for charge in _charges(devnet, item_hash)] == [True]
    assert item_hash not in devnet.state()["crns"][crn.hash]["vms"]


async def test_a_post_whose_answer_is_lost_is_on_the_network_and_charged_once(
    devnet: DevnetProcess, network: Network
) -> None:
    """Post says unknown, status says processed, and the same bytes again are the same VM."""
    message = await _sign(network)
    devnet.fault({"drop": "after"}, **POST, count=1)
    with pytest.raises(NetworkTrouble):
        await network.messages.post(message)
    assert await network.messages.status(message.item_hash) is MessageStatus.PROCESSED
    await network.messages.post(message)
    await network.messages.post(message)
    assert len(_charges(devnet, message.item_hash)) == 1
    await _forget(network, message.item_hash)


async def test_a_post_that_never_arrived_is_unknown_until_it_is_posted_again(
    devnet: DevnetProcess, network: Network
) -> None:
    """The caller cannot tell it from a lost answer; the status can."""
    message = await _sign(network)
    devnet.fault({"drop": "before"}, **POST, count=1)
    with pytest.raises(NetworkTrouble):
        await network.messages.post(message)
    assert await network.messages.status(message.item_hash) is MessageStatus.UNKNOWN
    assert await network.messages.rejection(message.item_hash) is None
    await network.messages.post(message)
    assert await network.messages.status(message.item_hash) is MessageStatus.PROCESSED
    await _forget(network, message.item_hash)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_internal_error_is_unknown(devnet: DevnetProcess, network: Network, when: str) -> None:
    """Whether it took effect is for the status to say."""
    message = await _sign(network)
    devnet.fault({"status": 502, "when": when}, **POST, count=1)
    with pytest.raises(NetworkTrouble):
        await network.messages.post(message)
    expected = MessageStatus.PROCESSED if when == "after" else MessageStatus.UNKNOWN
    assert await network.messages.status(message.item_hash) is expected
    if when == "after":
        await _forget(network, message.item_hash)


async def test_latency_beyond_the_time_out_is_unknown(devnet: DevnetProcess) -> None:
    """For reads and for posts; the network's own time-outs are shortened for it."""
    async with open_network(_settings(devnet, "funded", read_s=0.2, post_s=0.2)) as network:
        message = await _sign(network, crn=Crn(**(vars(await _first_crn(network)))))
        devnet.fault({"latency_s": 2}, node="ccn", path="/api/v0/")
        with pytest.raises(NetworkTrouble, match=r"no answer within 0\.2 s"):
            await network.messages.post(message)
        with pytest.raises(NetworkTrouble, match=r"no answer within 0\.2 s"):
            await network.messages.status(message.item_hash)
        with pytest.raises(NetworkTrouble, match=r"no answer within 0\.2 s"):
            await network.market.balance(network.signer.address)


async def test_a_create_without_credits_is_rejected_with_what_is_missing(devnet: DevnetProcess) -> None:
    """The 24 h rule: 86,400 seconds of one compute unit."""
    async with open_network(_settings(devnet, "unfunded")) as network:
        message = await _sign(network)
        await network.messages.post(message)
        assert await network.messages.status(message.item_hash) is MessageStatus.REJECTED
        rejection = await network.messages.rejection(message.item_hash)
        assert rejection == Rejection(6, "not enough credits", 342_000, 0)
        assert await network.market.balance(network.signer.address) == 0


async def test_a_create_for_a_payer_who_did_not_authorise_us_is_rejected(devnet: DevnetProcess) -> None:
    """Code 2."""
    async with open_network(_settings(devnet, "unfunded")) as network:
        message = await _sign(network, payer=devnet.account("human")["address"])
        await network.messages.post(message)
        rejection = await network.messages.rejection(message.item_hash)
        assert rejection is not None
        assert rejection.error_code == 2


async def test_in_delegated_mode_the_payer_is_charged_and_we_can_end_it(devnet: DevnetProcess) -> None:
    """Owner and signer differ everywhere: charge, listing, FORGET, erase."""
    human = devnet.account("human")["address"]
    await _authorise(devnet, "human", devnet.account("agent")["address"])
    async with open_network(_settings(devnet, "agent")) as network:
        crn = await _first_crn(network)
        item_hash = await _create(network, payer=human)
        assert (await network.hosts.notify(crn.url, item_hash)).outcome is NotifyOutcome.ACCEPTED
        (listed,) = await network.messages.instances(network.signer.address)
        assert (listed.item_hash, listed.payer, listed.sender) == (item_hash, human, network.signer.address)
        assert [charge["address"] for charge in _charges(devnet, item_hash)] == [human]
        (forget,) = await network.signer.sign_forgets(item_hash, human, 1)
        await network.messages.post(forget)
        assert await network.messages.status(item_hash) is MessageStatus.FORGOTTEN
        assert await network.hosts.erase(crn.url, item_hash) is EraseOutcome.ERASED


async def _authorise(devnet: DevnetProcess, role: str, agent: str) -> None:
    from aleph.sdk.chains.ethereum import ETHAccount
    from aleph.sdk.client import AuthenticatedAlephHttpClient

    account = ETHAccount(devnet.key(role))
    content = {"authorizations": [{"address": agent, "types": ["INSTANCE", "FORGET"]}]}
    async with AuthenticatedAlephHttpClient(account, api_server=devnet.api_host) as client:
        await client.create_aggregate("security", content, sync=True)


async def test_an_unknown_image_is_pending_and_has_no_rejection_yet(network: Network) -> None:
    """Its shape has no `message`, on which the SDK breaks."""
    message = await _sign(network, rootfs="9" * 64)
    await network.messages.post(message)
    assert await network.messages.status(message.item_hash) is MessageStatus.PENDING
    assert await network.messages.rejection(message.item_hash) is None


async def test_a_forget_may_be_repeated(network: Network) -> None:
    """Neither the same bytes nor another FORGET of a forgotten VM is an error to show."""
    item_hash = await _create(network)
    for forget in (await network.signer.sign_forgets(item_hash, network.signer.address, 2)) * 2:
        await network.messages.post(forget)
    assert await network.messages.status(item_hash) is MessageStatus.FORGOTTEN
    assert await network.messages.rejection(item_hash) is None


async def test_a_removing_vm_is_listed_and_a_removed_one_is_not(
    devnet: DevnetProcess, network: Network
) -> None:
    """REMOVING runs on and is billed; REMOVED has ended."""
    item_hash = await _create(network)
    me = network.signer.address
    devnet.set_status(item_hash, "removing")
    assert await network.messages.status(item_hash) is MessageStatus.REMOVING
    assert item_hash in {listed.item_hash for listed in await network.messages.instances(me)}
    devnet.set_status(item_hash, "removed")
    status = await network.messages.status(item_hash)
    assert status is MessageStatus.REMOVED
    assert status.billing_ended
    assert item_hash not in {listed.item_hash for listed in await network.messages.instances(me)}


async def test_a_stamp_is_read_back_as_it_was_written(network: Network) -> None:
    """The inventory can be rebuilt from the network alone."""
    crn, stamp = await _first_crn(network), Stamp("home-2", "ab" * 16, EXPIRES)
    item_hash = await _create(network, stamp=stamp)
    listed = {found.item_hash: found for found in await network.messages.instances(network.signer.address)}
    assert listed[item_hash].stamp == stamp
    assert listed[item_hash].crn_hash == crn.hash
    assert listed[item_hash].payer == network.signer.address
    await _forget(network, item_hash)


async def test_more_than_a_hundred_vms_are_listed_completely_or_not_at_all(
    devnet: DevnetProcess, network: Network
) -> None:
    """A truncated page is trouble, not the end of the VMs that it left out."""
    messages = [await _sign(network) for _ in range(101)]
    for message in messages:
        await network.messages.post(message)
    listed = {found.item_hash for found in await network.messages.instances(network.signer.address)}
    assert {message.item_hash for message in messages} <= listed
    for keep in (0, 1, 99):
        effect = {"truncate_listing": keep}
        devnet.fault(effect, path="/api/v0/messages.json")
        with pytest.raises(NetworkTrouble, match=r"listed|shifted"):
            await network.messages.instances(network.signer.address)
        devnet.clear_faults()
    devnet.fault({"garbage": True}, path="/api/v0/messages.json", count=1)
    with pytest.raises(NetworkTrouble, match="makes no sense"):
        await network.messages.instances(network.signer.address)
    for message in messages:
        await _forget(network, message.item_hash)


async def test_a_vm_that_the_crn_does_not_know_yet_is_too_early(network: Network) -> None:
    """500 "Aleph message not found": ask again shortly."""
    crn = await _first_crn(network)
    assert (await network.hosts.notify(crn.url, HASH)).outcome is NotifyOutcome.TOO_EARLY
    assert await network.hosts.execution(crn.url, HASH) is None
    assert await network.hosts.erase(crn.url, HASH) is EraseOutcome.NOT_THERE


async def test_another_crn_refuses_our_vm(network: Network) -> None:
    """400 for another node's `node_hash`."""
    item_hash = await _create(network)
    other = (await network.market.crns()).crns[1]
    assert (await network.hosts.notify(other.url, item_hash)).outcome is NotifyOutcome.REFUSED
    await _forget(network, item_hash)


async def test_anothers_key_cannot_erase_our_vm(devnet: DevnetProcess, network: Network) -> None:
    """403: refused, and the VM stays."""
    crn = await _first_crn(network)
    item_hash = await _create(network)
    await network.hosts.notify(crn.url, item_hash)
    async with open_network(_settings(devnet, "unfunded")) as stranger:
        assert await stranger.hosts.erase(crn.url, item_hash) is EraseOutcome.REFUSED
    assert isinstance(await network.hosts.execution(crn.url, item_hash), Execution)
    await _forget(network, item_hash)
    assert await network.hosts.erase(crn.url, item_hash) is EraseOutcome.ERASED


async def test_a_crn_that_is_down_is_trouble_and_not_an_answer(
    devnet: DevnetProcess, network: Network
) -> None:
    """Unknown is never gone."""
    crn = await _first_crn(network)
    devnet.crn_down(crn.hash)
    for call in (network.hosts.notify, network.hosts.execution, network.hosts.erase):
        with pytest.raises(NetworkTrouble):
            await call(crn.url, HASH)


async def test_a_crn_whose_clock_is_wrong_refuses_an_erase(devnet: DevnetProcess, network: Network) -> None:
    """401 outside two minutes; it is not the same as gone."""
    crn = await _first_crn(network)
    item_hash = await _create(network)
    await network.hosts.notify(crn.url, item_hash)
    devnet.crn_clock_skew(crn.hash, 600)
    assert await network.hosts.erase(crn.url, item_hash) is EraseOutcome.REFUSED
    devnet.crn_clock_skew(crn.hash, 0)
    await _forget(network, item_hash)
    assert await network.hosts.erase(crn.url, item_hash) is EraseOutcome.ERASED


async def test_prices_agree_with_each_other_and_with_the_estimate(network: Network) -> None:
    """14,250 units per hour; a VM of four units costs four times that."""
    price = await network.market.price()
    assert price.cu_rate == Decimal(14250) / 3600
    message = await _sign(network, vcpus=4, memory_mib=8192, disk_mib=81920)
    assert abs(await network.market.estimate(message) - 4 * price.cu_rate) < Decimal("1e-9")
    assert await network.messages.status(message.item_hash) is MessageStatus.UNKNOWN


async def test_a_balance_follows_a_top_up_within_its_age(devnet: DevnetProcess, network: Network) -> None:
    """An address without history has zero, which is an answer."""
    address = "0x52908400098527886E0F7030069857D2E4169EE7"
    assert await network.market.balance(address) == 0
    devnet.credits(12345, address=address)
    async with open_network(_settings(devnet, "funded")) as fresh:
        assert await fresh.market.balance(address) == 12345


async def test_the_crns_of_the_list_can_host(devnet: DevnetProcess, network: Network) -> None:
    """Every fact that placement needs is read."""
    listed = await network.market.crns()
    assert {crn.url for crn in listed.crns} == {crn["url"] for crn in devnet.crns}
    assert [fits(crn, Need(1, 2048, 20480)) for crn in listed.crns] == [""] * 3
    assert listed.age_s < 60


async def test_the_networks_time_is_its_own(devnet: DevnetProcess, network: Network) -> None:
    """Not ours: it is the second source when our clock jumps."""
    before = await network.messages.network_time()
    devnet.advance(3600)
    after = await network.messages.network_time()
    assert after - before >= timedelta(hours=1)
    devnet.advance(-3600)


async def test_a_listing_is_complete_while_vms_end(devnet: DevnetProcess, network: Network) -> None:
    """What ends moves the rest to earlier pages: a sweep of very many VMs would never see all of them."""
    messages = [await _sign(network) for _ in range(230)]
    for message in messages:
        await network.messages.post(message)
    ending = [message.item_hash for message in messages[::5]]
    asked = asyncio.Event()

    async def end_them() -> None:
        await asked.wait()
        for item_hash in ending:
            await _forget(network, item_hash)

    devnet.fault({"latency_s": 0.2}, path="/api/v0/messages.json")
    ends = asyncio.create_task(end_them())
    asked.set()
    for _ in range(3):
        listed = {found.item_hash for found in await network.messages.instances(network.signer.address)}
        assert {message.item_hash for message in messages} - set(ending) <= listed
    await ends
    devnet.clear_faults()
    for message in messages:
        await _forget(network, message.item_hash)


async def test_a_gpu_is_kept_for_one_and_only_where_that_helps(
    devnet: DevnetProcess, network: Network
) -> None:
    """By the SDK's own call; a plain VM and another payer's ask for nothing."""
    crn = next(crn for crn in (await network.market.crns()).crns if crn.gpus)
    gpu, human = crn.gpus[0], devnet.account("human")["address"]
    plain = await _sign(network, crn=crn)
    for_another = await _sign(network, crn=crn, gpu=gpu, payer=human)
    ours = await _sign(network, crn=crn, gpu=gpu)
    outcomes = [(await network.hosts.reserve(crn.url, it)).outcome for it in (plain, for_another, ours, ours)]
    assert outcomes == [ReserveOutcome.NOT_NEEDED] * 2 + [ReserveOutcome.RESERVED] * 2
    async with open_network(_settings(devnet, "human")) as other:
        theirs = await _sign(other, crn=crn, gpu=gpu)
        assert (await other.hosts.reserve(crn.url, theirs)).outcome is ReserveOutcome.REFUSED
