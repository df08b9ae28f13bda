"""VMs end: with their lease and nobody connected, or on request, whatever their CRN does meanwhile."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from aleph_agentd.domain.errors import Refusal
from support.daemon import DaemonProcess, eventually

ERASE = "/control/machine/*/erase"


async def rented(daemon: DaemonProcess, name: str = "box", **arguments) -> str:
    """A running VM."""
    answer = await daemon.call("aleph_create_vm", {"name": name, "ttl_hours": 1, **arguments})
    assert answer["status"] == "running"
    return str(answer["item_hash"])


async def status(daemon: DaemonProcess, item_hash: str) -> str:
    """What the inventory says of a VM."""
    return str((await daemon.row(item_hash))["status"])


async def test_with_nobody_connected_a_lease_ends_its_vm_and_an_extension_keeps_it(net, daemon):
    """Of two leases of some seconds, only the one that was not extended ends; its charge ends with it."""
    kept = await rented(daemon, "kept", ttl_hours=7 / 3600)
    ends_at = net.state()["now"] + 7
    await daemon.call("aleph_extend_vm", {"item_hash": kept, "additional_hours": 1})
    ended = await rented(daemon, "ended", ttl_hours=5 / 3600)
    await eventually(lambda: net.message(ended)["status"] == "forgotten", "the network to forget it")
    await eventually(lambda: daemon.running() == [kept], "its CRN to drop it")
    await eventually(lambda: net.state()["now"] > ends_at + 1, "the first end of the other one")
    assert daemon.live_instances() == [kept]
    charges = [charge for charge in net.state()["charges"] if charge["item_hash"] == ended]
    assert charges[-1]["to"] is not None


async def test_a_dead_crn_does_not_hold_up_the_end_of_billing(net, daemon):
    """The row stays `destroying`, in sight, until the CRN answers again."""
    item_hash = await rented(daemon)
    crn = next(crn for crn, facts in net.state()["crns"].items() if item_hash in facts["vms"])
    net.crn_down(crn)
    answer = await daemon.call("aleph_destroy_vm", {"item_hash": item_hash})
    assert (answer["status"], answer["billing_ended"]) == ("destroying", True)
    assert net.message(item_hash)["status"] == "forgotten"
    balance = await daemon.call("aleph_check_balance")
    assert (balance["reserved_credits"], balance["burn_rate_per_hour"]) == (0, 0)
    daemon.restart()
    assert await status(daemon, item_hash) == "destroying"
    assert item_hash in {vm["item_hash"] for vm in (await daemon.call("aleph_list_my_vms"))["vms"]}
    net.crn_down(crn, down=False)
    daemon.restart()  # what is being torn down is due at once after a start, whatever its backoff said
    await eventually(lambda: is_(daemon, item_hash, "gone"))
    assert daemon.leaves_nothing()


async def is_(daemon: DaemonProcess, item_hash: str, state: str) -> bool:
    """Whether the inventory says so."""
    return await status(daemon, item_hash) == state


async def test_an_erase_that_was_answered_is_believed_only_when_the_crn_lists_it_no_more(net, daemon):
    """200 without effect is not the end."""
    item_hash = await rented(daemon)
    net.fault({"status": 200, "body": "Erased"}, method="POST", path=ERASE, count=1)
    answer = await daemon.call("aleph_destroy_vm", {"item_hash": item_hash})
    assert (answer["status"], answer["billing_ended"]) == ("destroying", True)
    await eventually(lambda: is_(daemon, item_hash, "gone"))
    assert daemon.leaves_nothing()


@pytest.mark.parametrize(
    ("effect", "path"),
    [
        ({"truncate_listing": 0}, "/api/v0/messages.json"),
        ({"garbage": True}, "/api/v0/messages.json"),
        ({"status": 404}, "/api/v0/messages*"),
    ],
    ids=["empty", "garbage", "unknown"],
)
async def test_a_listing_that_lies_ends_no_vm(net, resident, effect, path):
    """An empty or partial list means unknown, never gone."""
    known = [row["item_hash"] for row in await resident.rows("live")] or [await rented(resident)]
    net.fault(effect, method="GET", path=path)
    await resident.control("sweep.run")
    net.clear_faults()
    assert [row["item_hash"] for row in await resident.rows("live")] == known
    assert await status(resident, known[0]) in ("running", "stale")
    assert resident.live_instances() == resident.running() == known


async def test_only_the_key_that_rented_a_vm_destroys_it(net, daemon):
    """With another key the daemon refuses, and says which one is needed."""
    item_hash = await rented(daemon)
    daemon.kill()
    mine, other = daemon.environment["ALEPH_AGENT_PRIVATE_KEY_PATH"], net.account("funded")
    daemon.environment["ALEPH_AGENT_PRIVATE_KEY_PATH"] = other["key_file"]
    daemon.start()
    with pytest.raises(Refusal) as refused:
        await daemon.call("aleph_destroy_vm", {"item_hash": item_hash})
    assert refused.value.code == "other_key"
    assert daemon.address in refused.value.message
    assert daemon.live_instances() == [item_hash]
    daemon.environment["ALEPH_AGENT_PRIVATE_KEY_PATH"] = mine
    daemon.restart()
    assert (await daemon.call("aleph_destroy_vm", {"item_hash": item_hash}))["status"] == "destroyed"
    assert daemon.leaves_nothing()


async def test_in_delegated_mode_the_human_pays_and_the_agent_rents_and_ends(net):
    """The VM and its charge are the human's; the signature is the agent's."""
    human = net.account("human")["address"]
    with DaemonProcess(net, role="agent", environment={"ALEPH_AGENT_HUMAN_ADDRESS": human}) as daemon:
        item_hash = await rented(daemon)
        message = net.message(item_hash)
        assert (message["sender"], message["address"]) == (daemon.address, human)
        assert (await daemon.call("aleph_destroy_vm", {"item_hash": item_hash}))["status"] == "destroyed"
        assert daemon.leaves_nothing()
        assert {c["address"] for c in net.state()["charges"] if c["item_hash"] == item_hash} == {human}


async def test_a_vm_of_the_predecessors_inventory_is_taken_over_and_ends_with_its_lease(daemon):
    """A file that is cut off: what can be read is imported, the file stays, the log says what could not."""
    item_hash = await rented(daemon)
    row = await daemon.row(item_hash)
    daemon.kill()
    ends_at = datetime.now(UTC) + timedelta(seconds=4)
    vm = {
        "item_hash": item_hash,
        "name": "old-box",
        "crn_url": row["crn_url"],
        "compute_units": 1,
        "created_at": (ends_at - timedelta(hours=1)).isoformat(),
        "ttl_expires_at": ends_at.isoformat(),
        "hourly_cost": 1.425,
        "signing_address": daemon.address,
        "ssh_user": "root",
    }
    file = daemon.home / ".aleph-agent-inventory.json"
    file.write_text(text := json.dumps([vm, vm])[:-40])
    daemon.environment["XDG_STATE_HOME"] = str(daemon.folder / "fresh-state")
    daemon.start()
    listed = (await daemon.call("aleph_list_my_vms"))["vms"]
    assert [(one["item_hash"], one["name"]) for one in listed] == [(item_hash, "old-box")]
    await eventually(daemon.leaves_nothing)
    await eventually(lambda: is_(daemon, item_hash, "gone"))
    assert file.read_text() == text
    assert "cannot be read" in daemon.log()
