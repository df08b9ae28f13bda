"""A backup is put back: until the network has told what it lacks, nothing is rented; then nothing is missing."""

import shutil
from collections.abc import Iterator

import pytest

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import open_client
from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess

HISTORY = "*/credit_history"
LIMITS = {"ALEPH_AGENT_MAX_CONCURRENT_VMS": "10", "ALEPH_AGENT_SWEEP_INTERVAL_S": "2"}
FACTS = ("item_hash", "status", "ttl_expires_at", "ssh_command", "crn_name", "hourly_cost", "compute_units")


@pytest.fixture
def daemon(net: DevnetProcess) -> Iterator[DaemonProcess]:
    """A running daemon that may do what the tests need."""
    with DaemonProcess(net, environment=LIMITS) as started:
        yield started


def put_back(daemon: DaemonProcess) -> None:
    """The copy is the inventory again."""
    for file in daemon.database.parent.glob("inventory.db*"):
        file.unlink()
    shutil.copy(daemon.folder / "copy.db", daemon.database)


async def refused(daemon: DaemonProcess, tool: str, **arguments: object) -> Refusal:
    """What a call is refused with."""
    with pytest.raises(Refusal) as refusal:
        await daemon.call(tool, arguments)
    return refusal.value


async def rent(daemon: DaemonProcess, name: str, hours: float = 1) -> str:
    """A VM; its hash."""
    return str((await daemon.call("aleph_create_vm", {"name": name, "ttl_hours": hours}))["item_hash"])


def has_published(daemon: DaemonProcess) -> bool:
    """Whether the network has processed an extension."""
    messages = daemon.net.state()["messages"]
    ours = [m["status"] for m in messages if (m["type"], m["sender"]) == ("AGGREGATE", daemon.address)]
    return "processed" in ours


async def is_whole(daemon: DaemonProcess) -> bool:
    """Whether nothing is frozen any more."""
    return not any("put back" in alert for alert in (await daemon.control("status"))["alerts"])


async def test_an_old_copy_learns_its_vms_leases_and_money_from_the_network(net, daemon):
    """Creates and extends wait for all three; rows, ends and spent are right, and nothing was destroyed."""
    await rent(daemon, "kept")
    daemon.terminate()
    shutil.copy(daemon.database, daemon.folder / "copy.db")
    daemon.start()
    await daemon.call("aleph_extend_vm", {"item_hash": "kept", "additional_hours": 3})
    await eventually(lambda: has_published(daemon), "the extension to be on the network")
    await rent(daemon, "new", 2)
    ended = await rent(daemon, "ended")
    await daemon.call("aleph_destroy_vm", {"item_hash": ended})
    before = {row["item_hash"]: row for row in await daemon.rows("live")}
    spent = (await daemon.control("status"))["spent_day_credits"]
    running = sorted(daemon.running())
    assert spent > 0 and len(before) == 2
    daemon.terminate()
    put_back(daemon)

    net.fault({"status": 500}, path=HISTORY)
    daemon.start()
    await eventually(lambda: "waits for the payer's expenses" in daemon.log())
    assert (await refused(daemon, "aleph_create_vm", name="other")).code == "inventory_restored"
    extending = await refused(daemon, "aleph_extend_vm", item_hash="kept", additional_hours=1)
    assert extending.code == "inventory_restored"
    daemon.restart()
    assert (await refused(daemon, "aleph_create_vm", name="other")).code == "inventory_restored"
    assert not await is_whole(daemon)
    net.clear_faults()
    await eventually(lambda: is_whole(daemon), "everything to be known again")

    async def located():
        rows = await daemon.rows("live")
        return len(rows) == 2 and all(row["ssh_command"] for row in rows) and rows

    after = {row["item_hash"]: row for row in await eventually(located)}
    for item_hash, row in before.items():
        assert {name: after[item_hash][name] for name in FACTS} == {name: row[name] for name in FACTS}
    assert sorted(daemon.running()) == sorted(daemon.live_instances()) == running
    # What the network has booked, which is less than our own clock says by the way there and back.
    counted = (await daemon.control("status"))["spent_day_credits"]
    assert 0 < counted <= spent
    await rent(daemon, "other")


async def test_a_copy_that_was_made_online_is_noticed_in_the_same_life(net, daemon):
    """No start lies between the copy and its return; `recover` looks at once."""
    async with open_client(daemon.control_socket) as client:
        size = (await client.call("backup.begin", {}))["size"]
        copy = b""
        while len(copy) < size:
            copy += (await client.call("backup.read", {"offset": len(copy)}))["data"]
    (daemon.folder / "copy.db").write_bytes(copy)
    item_hash = await rent(daemon, "new", 2)
    daemon.kill()
    put_back(daemon)
    net.fault({"status": 500}, path="/api/v0/messages.json")
    daemon.start()
    assert (await refused(daemon, "aleph_create_vm", name="other")).code == "inventory_restored"
    net.clear_faults()
    await daemon.control("recover")
    assert await is_whole(daemon)
    assert [row["item_hash"] for row in await daemon.rows("live")] == [item_hash]
    await rent(daemon, "other")
