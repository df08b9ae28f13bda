"""kill -9 at every step of a VM's life and end: it goes on by itself after each restart."""

import asyncio

from support.crash import Cut, die_at
from support.daemon import DaemonProcess, eventually

POST, STATUS, ERASE = "/api/v0/messages", "/api/v0/messages/*/status", "/control/machine/*/erase"
NOTIFY, LIST = "/control/allocation/notify", "/v2/about/executions/list"
BIRTH = [
    Cut("POST", POST, "done"),
    Cut("GET", STATUS, "lost"),
    Cut("POST", NOTIFY, "done"),
    Cut("GET", LIST, "lost"),
]
END = [
    Cut("POST", POST, "lost"),
    Cut("POST", POST, "done"),
    Cut("POST", ERASE, "lost"),
    Cut("POST", ERASE, "done"),
    Cut("GET", LIST, "lost"),
]


async def rented(daemon: DaemonProcess, **arguments) -> str:
    """A running VM, for an hour unless the test says otherwise."""
    answer = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1, **arguments})
    assert answer["status"] == "running"
    return str(answer["item_hash"])


async def is_(daemon: DaemonProcess, item_hash: str, status: str) -> bool:
    """Whether the inventory says so of this VM."""
    return (await daemon.row(item_hash))["status"] == status


async def die_at_each(daemon: DaemonProcess, cuts: list[Cut], act) -> None:
    """Do something and die at the first cut; then start again only to die at the next one."""
    for cut in cuts:
        await die_at(daemon, cut, act)
        act = asyncio.to_thread(daemon.start)
    await act


async def test_a_daemon_that_dies_at_every_step_rents_one_vm_and_ends_it(daemon):
    """Nobody asks twice; the money is settled, and the VM is never notified again once its end began."""
    create = daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1})
    await die_at_each(daemon, BIRTH, create)
    (row,) = await eventually(lambda: daemon.rows("live"))
    await eventually(lambda: is_(daemon, row["item_hash"], "running"), "the create to go on")
    assert daemon.running() == daemon.live_instances() == [row["item_hash"]]
    notified = notifications(daemon)

    await die_at_each(daemon, END, daemon.call("aleph_destroy_vm", {"item_hash": row["item_hash"]}))
    await eventually(daemon.leaves_nothing, "the VM to be off the network")
    await eventually(lambda: is_(daemon, row["item_hash"], "gone"), "its row to be closed")
    assert (await daemon.call("aleph_check_balance"))["reserved_credits"] == 0
    assert notifications(daemon) == notified
    assert len(daemon.instances()) == 1


def notifications(daemon: DaemonProcess) -> int:
    """How often any CRN was told to start a VM."""
    return sum(request["path"] == "/control/allocation/notify" for request in daemon.net.requests())


async def test_a_lease_that_ended_while_no_daemon_ran_is_reaped_at_the_start(daemon):
    """Before anything else, and with nobody connected."""
    item_hash = await rented(daemon, ttl_hours=5 / 3600)
    daemon.kill()
    ends_at = daemon.net.state()["now"] + 5
    assert daemon.running() == [item_hash]
    await eventually(lambda: daemon.net.state()["now"] > ends_at, "the lease to end")
    assert daemon.live_instances() == [item_hash]
    daemon.start()
    await eventually(daemon.leaves_nothing, "the VM to be off the network")
    await eventually(lambda: is_(daemon, item_hash, "gone"), "its row to be closed")
