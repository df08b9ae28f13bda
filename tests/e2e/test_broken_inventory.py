"""An inventory that becomes unreadable under a running daemon: everybody is told so."""

from support import failures
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess
from support.told import Told


async def test_agents_and_the_owner_are_told_in_words_that_the_inventory_cannot_be_used(
    net: DevnetProcess,
) -> None:
    """`status` too, which is where a refusal sends the owner: none of them is a mistake of ours."""
    told = Told()
    with DaemonProcess(net) as daemon:
        await daemon.call("aleph_create_vm", {"name": "kept", "ttl_hours": 1})
        await failures.break_the_inventory(told, daemon)
        daemon.kill()
    assert told.codes() == {"store", "unavailable"}, told.kinds()
