"""Extensions in the AGGREGATE, and the facts from which a row is rebuilt, against devnet."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aleph_agentd.adapters.aleph.network import Network, open_network
from aleph_agentd.adapters.aleph.settings import OS_IMAGES
from aleph_agentd.domain.model import PublishedEnd, Stamp
from aleph_agentd.ports import InstanceSpec, MessageStatus, NetworkTrouble
from support.devnet import DevnetProcess
from support.network import HASH, SSH_KEY, FakeNode, settings_for

pytest_plugins = ["support.network_fixtures"]

ENDS = datetime(2031, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
OTHER = "cd" * 32
AGGREGATES = "/api/v0/aggregates/{}.json"


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    """One local network for all tests of this file."""
    with DevnetProcess(tmp_path_factory.mktemp("devnet")) as started:
        yield started


@pytest.fixture
async def real(devnet: DevnetProcess) -> AsyncIterator[Network]:
    """The adapters with the funded account's key, on devnet."""
    settings = settings_for(
        Path(devnet.account()["key_file"]), devnet.api_host, crn_list_url=devnet.crn_list_url
    )
    async with open_network(settings) as opened:
        yield opened


async def publish(network: Network, item_hash: str, end: PublishedEnd, at: datetime) -> MessageStatus:
    """One extension."""
    message = await network.signer.sign_extension(item_hash, end, at)
    await network.messages.post(message)
    return await network.messages.status(message.item_hash)


async def test_the_highest_number_of_each_vm_is_read_back_exactly(real: Network) -> None:
    """Whatever order they came in; to the microsecond."""
    me, now = real.signer.address, datetime.now(UTC)
    assert await real.messages.published_ends(me) == {}
    for seconds, (item_hash, n) in enumerate([(HASH, 2), (OTHER, 1), (HASH, 1)]):
        end = PublishedEnd(n, ENDS + timedelta(hours=n))
        assert (
            await publish(real, item_hash, end, now + timedelta(seconds=seconds)) is MessageStatus.PROCESSED
        )
    ends = await real.messages.published_ends(me)
    assert ends == {
        HASH: PublishedEnd(2, ENDS + timedelta(hours=2)),
        OTHER: PublishedEnd(1, ENDS + timedelta(hours=1)),
    }


async def test_an_extension_says_nothing_else(network: Network) -> None:
    """Our own key, our own address, one entry (promise 4)."""
    at = datetime(2030, 1, 1, tzinfo=UTC)
    message = await network.signer.sign_extension(HASH, PublishedEnd(3, ENDS), at)
    fields = json.loads(message.body)
    assert (fields["type"], fields["sender"]) == ("AGGREGATE", network.signer.address)
    assert json.loads(fields["item_content"]) == {
        "key": "aleph-agentd-leases",
        "address": network.signer.address,
        "time": at.timestamp(),
        "content": {f"{HASH}:3": "2031-01-02T03:04:05.678901+00:00"},
    }


@pytest.mark.parametrize(("item_hash", "n"), [("ab", 1), (HASH.upper(), 1), (HASH, 0), (HASH, -1)])
async def test_what_is_no_extension_is_not_signed(network: Network, item_hash: str, n: int) -> None:
    """A hash and a number, in the one form that is read back."""
    with pytest.raises(ValueError, match="not an extension"):
        await network.signer.sign_extension(item_hash, PublishedEnd(n, ENDS), ENDS)


@pytest.mark.parametrize(
    "said",
    [
        [],
        {"data": []},
        {"data": {"aleph-agentd-leases": []}},
        {"data": {"aleph-agentd-leases": {"nonsense": "2030-01-01T00:00:00Z"}}},
        {"data": {"aleph-agentd-leases": {f"{HASH}:1": 5}}},
        {"data": {"aleph-agentd-leases": {f"{HASH}:1": "2030-01-01T00:00:00"}}},
    ],
)
async def test_an_answer_that_makes_no_sense_is_unknown_not_empty(
    node: FakeNode, network: Network, said: object
) -> None:
    """Nothing may be reaped by what it left out."""
    node.says(AGGREGATES.format("0xMe"), said)
    with pytest.raises(NetworkTrouble):
        await network.messages.published_ends("0xMe")


async def test_an_address_without_this_aggregate_has_no_extensions(node: FakeNode, network: Network) -> None:
    """404, or other keys only."""
    assert await network.messages.published_ends("0xMe") == {}
    node.says(AGGREGATES.format("0xMe"), {"data": {"port-forwarding": {}}})
    assert await network.messages.published_ends("0xMe") == {}
    node.says(AGGREGATES.format("0xMe"), "busy", status=500)
    with pytest.raises(NetworkTrouble):
        await network.messages.published_ends("0xMe")


async def test_a_listing_holds_what_a_row_is_rebuilt_from(real: Network) -> None:
    """Size, image, host, payer, stamp, and when it was signed."""
    me, before = real.signer.address, datetime.now(UTC)
    crn = (await real.market.crns()).crns[0]
    stamp = Stamp("home-1", "0" * 32, ENDS.replace(microsecond=0))
    spec = InstanceSpec(me, crn, 2, 4096, 40_960, OS_IMAGES["debian12"], SSH_KEY, stamp)
    message = await real.signer.sign_instance(spec)
    await real.messages.post(message)
    (found,) = await real.messages.instances(me)
    assert (found.item_hash, found.payer, found.stamp, found.crn_hash) == (
        message.item_hash,
        me,
        stamp,
        crn.hash,
    )
    assert (found.vcpus, found.memory_mib, found.disk_mib) == (2, 4096, 40_960)
    assert found.rootfs == OS_IMAGES["debian12"]
    assert found.signed_at is not None
    assert before - timedelta(seconds=1) <= found.signed_at <= datetime.now(UTC)
