"""kill -9 in the middle of an end, or before it: teardown goes on by itself after the restart."""

import pytest

from support.crash import Cut, die_at
from support.daemon import DaemonProcess, eventually

FORGET, LIST = "/api/v0/messages", "/v2/about/executions/list"
ERASE = "/control/machine/*/erase"
CUTS = [
    Cut("POST", FORGET, "lost"),
    Cut("POST", FORGET, "done"),
    Cut("POST", ERASE, "lost"),
    Cut("POST", ERASE, "done"),
    Cut("GET", LIST, "lost"),
]


async def rented(daemon: DaemonProcess, **arguments) -> str:
    """A running VM, for an hour unless the test says otherwise."""
    answer = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1, **arguments})
    assert answer["status"] == "running"
    return str(answer["item_hash"])


async def is_gone(daemon: DaemonProcess, item_hash: str) -> bool:
    """Whether its row is closed."""
    return (await daemon.row(item_hash))["status"] == "gone"


def has_taken_effect(daemon: DaemonProcess, cut: Cut) -> bool:
    """Whether the network did what the held request asked for."""
    return not (daemon.live_instances() if cut.path == FORGET else daemon.running())


@pytest.mark.parametrize("cut", CUTS, ids=str)
async def test_a_teardown_that_was_killed_goes_on_after_the_restart(daemon, cut):
    """Nobody asks for it again; its money is settled, and the VM is never notified again."""
    item_hash = await rented(daemon)
    notified = notifications(daemon)
    await die_at(
        daemon,
        cut,
        daemon.call("aleph_destroy_vm", {"item_hash": item_hash}),
        lambda: has_taken_effect(daemon, cut),
    )
    daemon.start()
    await eventually(daemon.leaves_nothing, "the VM to be off the network")
    await eventually(lambda: is_gone(daemon, item_hash), "its row to be closed")
    assert (await daemon.call("aleph_check_balance"))["reserved_credits"] == 0
    assert notifications(daemon) == notified


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
    await eventually(lambda: is_gone(daemon, item_hash), "its row to be closed")
