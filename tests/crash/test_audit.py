"""kill -9 and the audit log: a change and its entry are both there or neither is, and the chain is sound."""

import sqlite3
from contextlib import closing

import pytest

from support.crash import Cut, die_at
from support.daemon import DaemonProcess, eventually

POST, NOTIFY = "/api/v0/messages", "/control/allocation/notify"


def written(daemon: DaemonProcess, kind: str) -> list[str]:
    """The hashes that entries of a kind are about, by the file of a dead daemon."""
    assert not daemon.alive
    with closing(sqlite3.connect(daemon.database)) as db:
        return [row[0] for row in db.execute("SELECT item_hash FROM audit WHERE kind = ? ORDER BY n", [kind])]


def rows(daemon: DaemonProcess) -> list[str]:
    """The hashes of its rows, by the file of a dead daemon."""
    assert not daemon.alive
    with closing(sqlite3.connect(daemon.database)) as db:
        return [row[0] for row in db.execute("SELECT item_hash FROM vms ORDER BY created_at")]


@pytest.mark.parametrize(
    "cut",
    [Cut("POST", "/api/v0/price/estimate", "done"), Cut("POST", POST, "lost"), Cut("POST", NOTIFY, "done")],
    ids=str,
)
async def test_what_is_on_disk_is_in_the_log_and_the_other_way_round(daemon: DaemonProcess, cut: Cut) -> None:
    """A row has its entry, and the signatures without which there were none; what was cut before it has neither."""
    first = await daemon.call("aleph_create_vm", {"name": "first", "ttl_hours": 1})
    await die_at(daemon, cut, daemon.call("aleph_create_vm", {"name": "second", "ttl_hours": 1}))
    known = rows(daemon)
    assert known[0] == first["item_hash"] and len(known) == (1 if "estimate" in cut.path else 2)
    assert written(daemon, "intended") == written(daemon, "decision") == known
    signatures = written(daemon, "signature")
    assert [signatures.count(item_hash) for item_hash in known] == [2] * len(known)
    daemon.start()
    assert (await daemon.control("audit.verify"))["problem"] == ""
    await daemon.call("aleph_destroy_vm", {"item_hash": first["item_hash"]})
    await eventually(lambda: first["item_hash"] not in daemon.live_instances(), "the first one to end")
    assert (await daemon.control("audit.verify"))["problem"] == ""
