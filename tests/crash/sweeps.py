"""Scenarios: what the network and the inventory know of each other, and what helps when one of them is lost."""

import asyncio
import json
import secrets
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aleph_agentd.domain.errors import Refusal
from crash import forgery
from crash.lives import SECONDS, SHORT, gone, rented
from crash.scenario import scenario
from crash.tenant import DEAD, LEASED, Tenant
from support.source import ROOT

POST, STATUS, LIST = "/api/v0/messages", "/api/v0/messages/*/status", "/crns.json"
SWALLOWED = {
    "status": 200,
    "body": {"publication_status": {"status": "success"}, "message_status": "pending"},
}
FIVE_HOURS_S = 5 * 3600
RELEASED = ROOT / "tests" / "contract" / "released" / "inventory-schema-1.sql"


def forget_the_inventory(tenant: Tenant) -> None:
    """Delete the database of a dead daemon; its installation stays."""
    for file in tenant.daemon.database.parent.glob("inventory.db*"):
        file.unlink()


def move_house(tenant: Tenant) -> None:
    """A new installation, with an empty inventory; for a dead daemon."""
    tenant.daemon.environment["XDG_STATE_HOME"] = str(tenant.daemon.folder / "fresh-state")
    tenant.daemon.state = tenant.daemon.folder / "fresh-state"


def located(tenant: Tenant) -> bool:
    """Whether there are rows, and where each VM is, is known."""
    rows = tenant.rows(*LEASED)
    return bool(rows) and all(row["ssh_port"] and row["crn_url"] for row in rows)


def over(tenant: Tenant, item_hash: str) -> bool:
    """Whether this VM's row is closed."""
    return any(row["item_hash"] == item_hash and row["state"] in DEAD for row in tenant.rows())


async def swept(tenant: Tenant, times: int = 1) -> None:
    """Sweeps, one after another."""
    for _ in range(times):
        await tenant.control("sweep.run")


@scenario("sweep", everywhere=True)
async def sweep_takes_in_a_lost_vm(tenant: Tenant) -> None:
    """The database was deleted; the CRN list cannot be read at first."""
    await rented(tenant)
    await tenant.kill()
    forget_the_inventory(tenant)
    tenant.net.fault({"drop": "before"}, path=LIST)
    async with tenant.act():
        await tenant.until(lambda: tenant.rows(*LEASED), "the row to be rebuilt")
        tenant.net.clear_faults()
        while not located(tenant):
            await swept(tenant)


@scenario("sweep", MAX_TTL_HOURS="24")
async def sweep_ends_what_another_installation_left(tenant: Tenant) -> None:
    """More than an hour past its lease."""
    await rented(tenant)
    item_hash = forgery.instance(tenant, metadata=forgery.stamp(time.time() - 7200))
    await asyncio.sleep(1.1)  # the grace for orphans
    async with tenant.act():
        await swept(tenant)
        await tenant.until(lambda: over(tenant, item_hash), "the stranger to be ended")


@scenario("sweep")
async def sweep_reports_an_orphan(tenant: Tenant) -> None:
    """Without a stamp: the owner has it destroyed."""
    await rented(tenant)
    item_hash = forgery.instance(tenant, metadata={})
    await asyncio.sleep(1.1)  # the grace for orphans
    async with tenant.act():
        while not any(row["item_hash"] == item_hash for row in tenant.rows()):
            await swept(tenant)
            found = (await tenant.control("orphans.list"))["orphans"]
            if any(orphan["item_hash"] == item_hash for orphan in found):
                with suppress(Refusal):  # asked again after a death, it is no orphan any more
                    await tenant.control("orphans.destroy", item_hash=item_hash)
        await tenant.destroy()
        await tenant.until(lambda: over(tenant, item_hash), "the orphan to be ended")


@scenario("sweep")
async def sweep_ends_the_undead(tenant: Tenant) -> None:
    """A tombstone that the network lists again."""
    item_hash = await rented(tenant)
    await tenant.destroy()
    await gone(tenant)
    tenant.net.set_status(item_hash, "processed")
    async with tenant.act():
        await swept(tenant)
        await tenant.until(
            lambda: not tenant.daemon.live_instances() and tenant.is_("gone"), "its second end"
        )


@scenario("sweep")
async def sweep_flags_a_stale_row(tenant: Tenant) -> None:
    """A row that the network does not know: looked at three times, flagged, and never ended by that."""
    await rented(tenant)
    await tenant.kill()
    ghost = dict(tenant.rows()[0], item_hash=secrets.token_hex(32), name="ghost", create_id="c-ghost")
    columns = ", ".join(ghost)
    marks = ", ".join("?" * len(ghost))
    tenant.sql(f"INSERT INTO vms ({columns}) VALUES ({marks})", *ghost.values())
    await tenant.alive()
    await asyncio.sleep(1.1)  # the grace
    async with tenant.act():
        while (tenant.row("ghost") or {})["warned"] != "stale":
            await swept(tenant, 3)


@scenario("recover", everywhere=True)
async def recover_on_another_machine(tenant: Tenant) -> None:
    """Only the key is left; the lease was extended."""
    item_hash = await rented(tenant)
    await tenant.call("aleph_extend_vm", item_hash=item_hash, additional_hours=1)
    await tenant.kill()
    move_house(tenant)
    async with tenant.act():
        await asyncio.sleep(1.1)  # the grace for strangers
        while not tenant.rows(*LEASED):
            await tenant.control("recover")
        while not located(tenant):  # a sweep that ran already when the row was written does not look for it
            await swept(tenant)


@scenario("recover")
async def recover_from_the_predecessor(tenant: Tenant) -> None:
    """A JSON inventory is taken over, once."""
    item_hash = await rented(tenant)
    (row,) = tenant.rows()
    await tenant.kill()
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    vm = {
        "item_hash": item_hash,
        "name": "box",
        "crn_url": row["crn_url"],
        "compute_units": 1,
        "created_at": datetime.fromtimestamp(row["created_at"] / 1e6, UTC).isoformat(),
        "ttl_expires_at": ends_at.isoformat(),
        "hourly_cost": 1.425,
        "signing_address": tenant.daemon.address,
        "ssh_user": "root",
    }
    (tenant.daemon.home / ".aleph-agent-inventory.json").write_text(json.dumps([vm]))
    move_house(tenant)
    async with tenant.act():
        await tenant.until(lambda: tenant.rows(*LEASED), "the row to be taken over")


def rewrite_as_released(path: Path) -> None:
    """Write a dead daemon's inventory anew in the first schema, with the rows that it had a place for."""
    with closing(sqlite3.connect(path)) as killed:
        killed.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    newer = path.with_suffix(".newer")
    path.rename(newer)
    for rest in path.parent.glob(f"{path.name}-*"):
        rest.unlink()
    with closing(sqlite3.connect(path)) as old, old:
        old.executescript(RELEASED.read_text())
        old.execute("ATTACH ? AS newer", (str(newer),))
        for table in ("forgets", "signed_messages", "ledger", "requests", "events", "vms"):
            old.execute(f"DELETE FROM {table}")
        for table in ("vms", "signed_messages", "forgets", "ledger"):
            columns = ", ".join(name for _, name, *_ in old.execute(f"PRAGMA table_info({table})"))
            old.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM newer.{table}")
    newer.unlink()


@scenario("recover")
async def recover_an_inventory_of_an_older_version(tenant: Tenant) -> None:
    """The first schema, which published no extensions: it is migrated at the start."""
    await rented(tenant)
    await tenant.kill()
    rewrite_as_released(tenant.daemon.database)
    async with tenant.act():
        await tenant.until(lambda: located(tenant), "the row to be there")


@scenario("health", HEALTH_INTERVAL_S="1")
async def health_flags_a_vm(tenant: Tenant) -> None:
    """It is found at another port than before; then the network removes it, and leaves it after all."""
    item_hash = await rented(tenant)
    await tenant.kill()
    tenant.sql("UPDATE vms SET ssh_port = 1")
    tenant.net.set_status(item_hash, "removing")
    async with tenant.act():
        await tenant.until(lambda: (tenant.row() or {})["warned"] == "removing", "the flag")
        await tenant.until(lambda: (tenant.row() or {})["ssh_port"] > 1, "the port")
        tenant.net.set_status(item_hash, "processed")
        await tenant.until(lambda: not (tenant.row() or {})["warned"], "the flag to be taken back")


@scenario("clock")
async def clock_that_leapt(tenant: Tenant) -> None:
    """The clock is hours ahead of what was kept: a CCN is asked whom to believe."""
    await rented(tenant)
    kept = tenant.daemon.database.parent / "clock.json"
    await tenant.until(kept.exists, "the time to be kept")
    await tenant.kill()
    said = json.loads(kept.read_text())
    said["at"] = (datetime.fromisoformat(said["at"]) - timedelta(seconds=FIVE_HOURS_S)).isoformat()
    kept.write_text(json.dumps(said))
    async with tenant.act():
        await tenant.until(
            lambda: tenant.read("SELECT id FROM events WHERE kind = 'clock'"), "the network to be asked"
        )


@scenario("escrow", ESCROW_DIR="escrow")
async def escrow_signs_what_is_missing(tenant: Tenant) -> None:
    """Every kill switch is burnt, and the directory is to have some."""
    await rented(tenant)
    await tenant.kill()
    tenant.sql("UPDATE forgets SET burnt_at = 1")
    async with tenant.act():
        await tenant.until(
            lambda: tenant.read("SELECT n FROM forgets WHERE burnt_at IS NULL"), "fresh kill switches"
        )


async def reaped(tenant: Tenant) -> None:
    """`reap-escrow`, by a timer: again and again until what is due is over. No daemon runs."""
    deadline = asyncio.get_running_loop().time() + 60
    while tenant.daemon.live_instances():
        assert asyncio.get_running_loop().time() < deadline, "reap-escrow does not end it"
        await asyncio.to_thread(
            tenant.daemon.run("reap-escrow", str(tenant.daemon.folder / "escrow")).wait, 60
        )


async def due_in_escrow(tenant: Tenant) -> str:
    """A VM whose lease is over, its kill switches in a directory, and no daemon."""
    item_hash = await rented(tenant, hours=SHORT)
    folder = tenant.daemon.folder / "escrow"
    await tenant.until(lambda: folder.exists() and any(folder.iterdir()), "the kill switches")
    await tenant.kill()
    await asyncio.sleep(SHORT / SECONDS)
    return item_hash


@scenario("escrow", ESCROW_DIR="escrow")
async def escrow_reaps_with_a_burnt_forget(tenant: Tenant) -> None:
    """The first kill switch in the file has no effect, the second one has."""
    forgery.burn_first_forget(tenant, await due_in_escrow(tenant))
    async with tenant.act():
        await reaped(tenant)


@scenario("escrow", ESCROW_DIR="escrow")
async def escrow_reaps_with_a_lost_forget(tenant: Tenant) -> None:
    """The network says that it took the first one, and did not."""
    await due_in_escrow(tenant)
    tenant.net.fault(SWALLOWED, method="POST", path=POST, count=1)
    async with tenant.act():
        await reaped(tenant)
