"""kill -9 around an extension: what was answered holds, and what holds is on the network in the end."""

import sqlite3
from contextlib import closing

import pytest

from support.crash import Cut, die_at
from support.daemon import DaemonProcess, eventually

POST, AGGREGATE = "/api/v0/messages", "/api/v0/aggregates/*.json"


def unpublished(daemon: DaemonProcess) -> int:
    """Leases whose newest extension is not known to be on the network."""
    with closing(sqlite3.connect(daemon.database)) as database:
        (count,) = database.execute(
            "SELECT count(*) FROM vms WHERE lease_version > 1 AND NOT EXISTS (SELECT 1 FROM extensions e "
            "WHERE e.item_hash = vms.item_hash AND e.n = vms.lease_version - 1 AND e.confirmed_at IS NOT NULL)"
        ).fetchone()
    return int(count)


@pytest.mark.parametrize(
    "cut", [Cut("POST", POST, "lost"), Cut("POST", POST, "done"), Cut("GET", AGGREGATE, "lost")], ids=str
)
async def test_an_extension_cut_by_a_crash_is_published_once_after_the_restart(daemon, cut):
    """Wherever it was cut: the same bytes, the same end, also in an inventory that is lost after that."""
    vm = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1})
    ends_at = vm["ttl_expires_at"]
    extend = daemon.call("aleph_extend_vm", {"item_hash": "box", "additional_hours": 2})
    await die_at(daemon, cut, extend)
    daemon.start()
    (row,) = await daemon.rows("live")
    assert row["ttl_expires_at"] > ends_at
    await eventually(lambda: unpublished(daemon) == 0, "the extension to be published")
    published = [m for m in daemon.net.state()["messages"] if m["type"] == "AGGREGATE"]
    assert len([m for m in published if m["sender"] == daemon.address]) == 1
    daemon.kill()
    for file in daemon.database.parent.glob("inventory.db*"):
        file.unlink()
    daemon.start()
    (rebuilt,) = await eventually(lambda: daemon.rows("live"), "the row to be rebuilt")
    assert rebuilt["ttl_expires_at"] == row["ttl_expires_at"]


async def test_a_recovery_cut_by_a_crash_is_whole_after_the_restart(daemon):
    """Each row is one transaction, and the next sweep takes in what is missing."""
    for number in range(3):
        await daemon.call("aleph_create_vm", {"name": f"box-{number}", "ttl_hours": 1})
    await daemon.call("aleph_extend_vm", {"item_hash": "box-1", "additional_hours": 2})
    before = {row["item_hash"]: row["ttl_expires_at"] for row in await daemon.rows("live")}
    daemon.kill()
    for file in daemon.database.parent.glob("inventory.db*"):
        file.unlink()
    daemon.net.fault({"latency_s": 60}, method="GET", path=AGGREGATE, count=1)
    daemon.start()
    daemon.kill()
    daemon.net.clear_faults()
    daemon.start()

    async def all_back():
        return {row["item_hash"]: row["ttl_expires_at"] for row in await daemon.rows("live")} == before

    await eventually(all_back, "every row to be rebuilt")
    assert sorted(daemon.live_instances()) == sorted(before)
