"""Scenarios: an inventory that is put back from an old copy, and rows that go because nobody needs them any more."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from crash.lives import POST, gone, noted, published, refused_create, rented
from crash.scenario import scenario
from crash.sweeps import swept
from crash.tenant import POLL_S, Tenant

OUTLIVED_S = 31 * 86_400
"""A tombstone is kept for thirty days."""


async def copied(tenant: Tenant) -> Path:
    """A copy of the inventory as it is now."""
    copy = tenant.daemon.folder / "copy.db"
    await tenant.kill()
    with closing(sqlite3.connect(tenant.daemon.database)) as now, closing(sqlite3.connect(copy)) as kept:
        now.backup(kept)
    await tenant.alive()
    return copy


async def put_back(tenant: Tenant, copy: Path) -> None:
    """Kill the daemon; the copy is its inventory now. What it has no row for any more is over."""
    await tenant.kill()
    tenant.remember()
    for suffix in ("", "-wal", "-shm"):
        tenant.daemon.database.with_name(f"inventory.db{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, tenant.daemon.database)


async def whole(tenant: Tenant) -> None:
    """Sweep until everything is known again."""
    while not tenant.read("SELECT id FROM events WHERE kind = 'restored'"):
        await swept(tenant)
        await asyncio.sleep(POLL_S)


@scenario("restore", everywhere=True)
async def restore_a_copy_that_misses_a_life(tenant: Tenant) -> None:
    """Since it was made, a lease was extended, and another VM came and went."""
    item_hash = await rented(tenant)
    copy = await copied(tenant)
    await tenant.call("aleph_extend_vm", item_hash=item_hash, additional_hours=1)
    await tenant.until(lambda: published(tenant), "the extension to be published")
    other = await rented(tenant, "other")
    await tenant.call("aleph_destroy_vm", item_hash=other)
    await gone(tenant, "other")
    await put_back(tenant, copy)
    async with tenant.act():
        await whole(tenant)
    assert (tenant.row() or {})["lease_version"] == 2, "the extension is not known again"


@scenario("restore")
async def restore_a_copy_of_what_is_over(tenant: Tenant) -> None:
    """Its only VM has ended since: no listing names it any more."""
    await rented(tenant)
    copy = await copied(tenant)
    await tenant.destroy()
    await gone(tenant)
    await put_back(tenant, copy)
    async with tenant.act():
        await whole(tenant)
        await tenant.destroy()  # by itself its row is closed when its lease ends
        await gone(tenant)


@scenario("restore")
async def restore_beside_a_damaged_counter(tenant: Tenant) -> None:
    """Nobody knows whether the inventory is the newest one."""
    await rented(tenant)
    await tenant.kill()
    (counter,) = tenant.daemon.database.parent.glob("starts-*.json")
    counter.write_text("?")
    async with tenant.act():
        await whole(tenant)


@scenario("retain")
async def retain_nothing_for_ever(tenant: Tenant) -> None:
    """Thirty days later, one that is gone and one that never arrived have no rows any more."""
    await rented(tenant)
    await tenant.destroy()
    await gone(tenant)
    await never_arrived(tenant)
    await tenant.kill()
    tenant.remember()
    tenant.sql("UPDATE vms SET verified_at = ended_at, ended_at = ended_at - ?", OUTLIVED_S * 1_000_000)
    async with tenant.act():
        await tenant.until(lambda: not tenant.rows(), "the rows to be removed")
        await tenant.until(lambda: tenant.has_died or _told(tenant), "that to be told")


def _told(tenant: Tenant) -> bool:
    return bool(tenant.read("SELECT id FROM events WHERE kind = 'retention'"))


async def never_arrived(tenant: Tenant) -> None:
    """A row whose bytes may have left, and that the network never knew."""
    tenant.net.fault({"drop": "before"}, method="POST", path=POST)
    creating = asyncio.ensure_future(refused_create(tenant))
    await tenant.until(lambda: tenant.rows("intended", "provisioning"), "the broadcast")
    await tenant.destroy()
    await creating
    await tenant.until(lambda: noted(tenant), "the network's word to be noted")
    await tenant.ages(31, "unknown_since")
    await tenant.until(lambda: not tenant.rows("destroying"), "the row to be closed")
    tenant.net.clear_faults()
