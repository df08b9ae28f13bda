"""A lost inventory is made whole from the network alone; what others stamped is theirs until they must be dead."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from aleph_agentd.adapters.aleph.network import Network, open_network
from aleph_agentd.adapters.aleph.settings import OS_IMAGES
from aleph_agentd.domain.clock import iso
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.model import PublishedEnd, Stamp
from aleph_agentd.ports import InstanceSpec
from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess
from support.network import SSH_KEY, settings_for

pytest_plugins = ["support.network_fixtures"]

LIMITS = {
    "ALEPH_AGENT_MAX_CONCURRENT_VMS": "100",
    "ALEPH_AGENT_MAX_CREATES_PER_HOUR": "100",
    "ALEPH_AGENT_ORPHAN_GRACE_S": "1",
}


@pytest.fixture
def daemon(net: DevnetProcess) -> Iterator[DaemonProcess]:
    """A running daemon that may do what the tests need."""
    with DaemonProcess(net, environment=LIMITS) as started:
        yield started


@pytest.fixture
async def elsewhere(net: DevnetProcess, daemon: DaemonProcess) -> AsyncIterator[Network]:
    """The same key on another machine."""
    settings = settings_for(daemon.key_file, net.api_host, crn_list_url=net.crn_list_url)
    async with open_network(settings) as opened:
        yield opened


async def rent(network: Network, number: int, expires_at: datetime) -> str:
    """A VM that another installation has stamped; it is notified to its CRN."""
    crns = (await network.market.crns()).crns
    crn = crns[number % len(crns)]
    stamp = Stamp("elsewhere", f"{number:032x}", expires_at)
    me = network.signer.address
    spec = InstanceSpec(me, crn, 1, 2048, 20_480, OS_IMAGES["ubuntu22"], SSH_KEY, stamp)
    message = await network.signer.sign_instance(spec)
    await network.messages.post(message)
    return message.item_hash


def forget_the_inventory(daemon: DaemonProcess) -> None:
    """Delete the database of a daemon that does not run."""
    for file in daemon.database.parent.glob("inventory.db*"):
        file.unlink()


FACTS = ("item_hash", "status", "ttl_expires_at", "ssh_command", "crn_name", "hourly_cost", "compute_units")


async def test_a_daemon_whose_database_was_deleted_tracks_all_its_vms_again(daemon):
    """Five VMs, one of them extended: the same leases, hosts and addresses, and nothing was rented or ended."""
    for number in range(5):
        await daemon.call("aleph_create_vm", {"name": f"box-{number}", "ttl_hours": 1 + number})
    extended = await daemon.call("aleph_extend_vm", {"item_hash": "box-2", "additional_hours": 3})
    assert extended["warnings"] == []
    before = {row["item_hash"]: row for row in await daemon.rows()}
    running = sorted(daemon.running())
    daemon.kill()
    forget_the_inventory(daemon)
    daemon.start()

    async def located():
        rows = await daemon.rows()
        return len(rows) == 5 and all(row["ssh_command"] for row in rows) and rows

    after = {row["item_hash"]: row for row in await eventually(located, "the sweep to rebuild the rows")}
    for item_hash, row in before.items():
        assert {name: after[item_hash][name] for name in FACTS} == {name: row[name] for name in FACTS}
    assert sorted(daemon.running()) == sorted(daemon.live_instances()) == running
    assert (await daemon.control("orphans.list"))["orphans"] == []
    ended = await daemon.call("aleph_check_balance")
    assert ended["reserved_credits"] > 0


async def test_a_rebuilt_lease_that_ended_meanwhile_is_reaped(daemon):
    """Nobody tracked it, and it does not live on."""
    made = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 3 / 3600})
    daemon.kill()
    forget_the_inventory(daemon)
    assert daemon.live_instances() == [made["item_hash"]]
    daemon.start()
    await eventually(daemon.leaves_nothing, "the VM to be off the network")
    [row] = await daemon.rows()
    assert row["item_hash"] == made["item_hash"]
    assert row["name"].startswith("recovered-")


async def test_another_installation_s_vm_is_left_alone_until_an_hour_past_its_lease(daemon, elsewhere):
    """One is past its lease, one is past that hour, and one was extended in time."""
    await daemon.call("aleph_create_vm", {"name": "ours", "ttl_hours": 1})
    now = datetime.now(UTC)
    late = await rent(elsewhere, 1, now - timedelta(minutes=59))
    abandoned = await rent(elsewhere, 2, now - timedelta(minutes=61))
    extended = await rent(elsewhere, 3, now - timedelta(hours=2))
    end = PublishedEnd(1, now + timedelta(hours=1))
    await elsewhere.messages.post(await elsewhere.signer.sign_extension(extended, end, now))
    await daemon.control("sweep.run")
    await eventually(lambda: abandoned not in daemon.live_instances(), "the abandoned one to be ended")
    assert {late, extended} < set(daemon.live_instances())
    strangers = (await daemon.control("orphans.list"))["strangers"]
    assert {vm["item_hash"] for vm in strangers} == {late, extended}


async def test_recover_restores_fifty_vms_with_their_extended_leases_exactly(daemon, elsewhere):
    """The machine was lost with everything on it, and only the key is left."""
    now, ends = datetime.now(UTC).replace(microsecond=0), {}
    for number in range(50):
        end = now + timedelta(hours=2, minutes=number)
        item_hash = await rent(elsewhere, number, end)
        if number % 2:
            end += timedelta(hours=5)
            dated_at = now + timedelta(milliseconds=number)
            extension = PublishedEnd(1 + number % 3, end)
            await elsewhere.messages.post(
                await elsewhere.signer.sign_extension(item_hash, extension, dated_at)
            )
        ends[item_hash] = iso(end)
    await daemon.control("sweep.run")
    assert await daemon.rows() == []
    alerts = (await daemon.control("status"))["alerts"]
    assert any("aleph-agentctl recover" in alert for alert in alerts)
    answer = await daemon.control("recover")
    assert (len(answer["adopted"]), answer["strangers"], answer["waiting"]) == (50, 0, 0)
    assert {row["item_hash"]: row["ttl_expires_at"] for row in await daemon.rows()} == ends
    assert set(daemon.live_instances()) == ends.keys()
    assert (await daemon.control("recover"))["adopted"] == []


async def test_a_vm_without_a_row_is_adopted_or_destroyed_when_the_owner_says_so(daemon, elsewhere):
    """With its own lease, or with proof that it is not billed any more."""
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    stamped = await rent(elsewhere, 1, ends_at)
    await daemon.control("sweep.run")
    with pytest.raises(Refusal) as refused:
        await daemon.control("orphans.adopt", {"item_hash": stamped[:20]})
    assert refused.value.code == "passphrase_unset"
    await daemon.control("passphrase.set", {"passphrase": "correct horse"})
    owner = {"item_hash": stamped[:20], "passphrase": "correct horse"}
    adopted = await daemon.control("orphans.adopt", owner)
    assert adopted["vm"]["ttl_expires_at"] == iso(ends_at)
    other = await rent(elsewhere, 2, datetime.now(UTC) + timedelta(hours=1))
    await daemon.control("sweep.run")
    assert (await daemon.control("orphans.destroy", {"item_hash": other}))["billing_ended"] is True
    assert daemon.live_instances() == [stamped]
