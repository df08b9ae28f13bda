"""kill -9 in the middle of a create: the VM is tracked again, or is proven never to have existed."""

import asyncio
import sqlite3
from contextlib import closing, suppress

import pytest

from aleph_agentd.domain.errors import Refusal
from support.crash import Cut, die_at
from support.daemon import DaemonProcess, eventually

POST, NOTIFY = "/api/v0/messages", "/control/allocation/notify"


def create(daemon: DaemonProcess, name: str = "box", **arguments):
    """A create of an hour, unless the test says otherwise."""
    key = arguments.pop("request_key", None)
    return daemon.call("aleph_create_vm", {"name": name, "ttl_hours": 1, **arguments}, key)


async def the_row(daemon: DaemonProcess) -> dict:
    """The only row."""
    rows = await daemon.rows()
    assert len(rows) == 1
    return rows[0]


async def is_in(daemon: DaemonProcess, *states: str) -> bool:
    """Whether the only VM is in one of these states."""
    return (await the_row(daemon))["status"] in states


def age(daemon: DaemonProcess, column: str, minutes: int) -> None:
    """Let time pass for a dead daemon: move an instant of its rows into the past."""
    assert not daemon.alive
    with closing(sqlite3.connect(daemon.database)) as db, db:
        (value,) = db.execute(f"select {column} from vms").fetchone()
        assert isinstance(value, int), "instants are stored as microseconds"
        db.execute(f"update vms set {column} = {column} - ?, due_at = 0", (minutes * 60_000_000,))


@pytest.mark.parametrize("path", [POST, NOTIFY])
async def test_a_request_that_takes_effect_after_its_sender_died_is_not_lost(daemon, path):
    """It was in flight when the daemon was killed, and does its work when the next daemon runs already."""
    await die_at(daemon, Cut("POST", path, "late"), create(daemon))
    daemon.start()
    row = await the_row(daemon)
    await eventually(lambda: is_in(daemon, "running"), "the create to go on")
    assert daemon.running() == daemon.live_instances() == [row["item_hash"]]
    answer = await daemon.call("aleph_destroy_vm", {"item_hash": row["item_hash"]})
    assert answer["status"] == "destroyed"
    assert daemon.leaves_nothing()


async def test_a_vm_whose_create_was_killed_unanswered_ends_with_its_lease(daemon):
    """Nobody asks for anything after the restart."""
    await die_at(daemon, Cut("POST", POST, "done"), create(daemon, ttl_hours=4 / 3600), daemon.live_instances)
    daemon.start()
    await the_row(daemon)
    await eventually(daemon.leaves_nothing, "the lease to end it")
    await eventually(lambda: is_in(daemon, "gone"), "its row to be closed")


async def test_a_create_killed_before_its_intent_leaves_no_trace(daemon):
    """The last question before commit 1 is the price; nothing was promised then."""
    await die_at(daemon, Cut("POST", "/api/v0/price/estimate", "done"), create(daemon))
    daemon.start()
    assert await daemon.rows() == []
    assert daemon.instances() == []
    assert (await daemon.call("aleph_check_balance"))["reserved_credits"] == 0


async def test_a_broadcast_that_never_arrived_is_closed_when_that_is_proven(daemon):
    """Bytes that may have left count as live until the network has not known them for 30 minutes."""
    await die_at(daemon, Cut("POST", POST, "lost"), create(daemon, ttl_hours=3 / 3600))
    daemon.start()
    await eventually(lambda: is_in(daemon, "destroying"), "its lease to end")
    await eventually(lambda: noted(daemon), "the network's word to be noted")
    assert (await daemon.call("aleph_check_balance"))["reserved_credits"] > 0
    daemon.kill()
    age(daemon, "unknown_since", 31)
    daemon.start()
    await eventually(lambda: is_in(daemon, "failed"), "its row to be closed")
    assert (await daemon.call("aleph_check_balance"))["reserved_credits"] == 0
    assert daemon.instances() == []


async def noted(daemon: DaemonProcess) -> bool:
    """Whether the only row says that the network does not know it."""
    return "watched" in (await the_row(daemon))["note"]


async def test_a_broadcast_that_never_arrived_goes_out_when_its_request_is_asked_again(daemon):
    """The same bytes: the hash that the first try promised."""
    await die_at(daemon, Cut("POST", POST, "lost"), create(daemon, request_key="k1"))
    daemon.start()
    promised = (await the_row(daemon))["item_hash"]
    answer = await create(daemon, request_key="k1")
    assert answer["item_hash"] == promised
    assert daemon.live_instances() == [promised]


async def test_a_request_that_is_asked_again_after_a_crash_rents_no_second_vm(daemon):
    """The answer was lost, the VM was not."""
    await die_at(daemon, Cut("POST", POST, "done"), create(daemon, request_key="k1"), daemon.instances)
    daemon.start()
    answer = await create(daemon, request_key="k1")
    assert answer["status"] == "running"
    assert daemon.live_instances() == [answer["item_hash"]]


async def test_whenever_a_create_is_killed_its_vm_is_known_or_never_was(daemon):
    """Four creates, each killed a little later than the one before it."""
    for n in range(4):
        doing = asyncio.ensure_future(create(daemon, f"box-{n}"))
        await asyncio.wait({doing}, timeout=0.15 * n)  # the moment of the kill, nothing that is asserted
        daemon.kill()
        with suppress(Refusal):
            await doing
        daemon.start()
    known = {row["item_hash"] for row in await daemon.rows()}
    assert {instance["item_hash"] for instance in daemon.instances()} <= known
    for item_hash in known:
        await daemon.call("aleph_destroy_vm", {"item_hash": item_hash})
    await eventually(daemon.leaves_nothing)
    await eventually(lambda: no_live_rows(daemon))
    assert (await daemon.call("aleph_check_balance"))["reserved_credits"] == 0


async def no_live_rows(daemon: DaemonProcess) -> bool:
    """Whether every row is a tombstone."""
    return await daemon.rows("live") == []
