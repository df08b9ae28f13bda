"""Inventories as released versions wrote them: opened, copied beside, brought forward, nothing lost.

`released/inventory-schema-N.sql` is a dump that a version with schema N made of: vm-1 running, extended, one
FORGET burnt; vm-2 gone and settled; vm-3 intended. Dumps are never edited.
"""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.adapters.store import SqlInventory, sqlite_url
from aleph_agentd.adapters.store.migrations import SCHEMA_VERSION
from aleph_agentd.domain.model import LIVE, VmState
from support.inventory import HOUR, NOW, RESERVE, a_hash, a_vm, allow, an_intent

RELEASED = {int(path.stem.rpartition("-")[2]): path for path in Path(__file__).parent.glob("released/*.sql")}


def ask(path: Path, sql: str) -> list[Any]:
    """What the file itself says."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def shape(path: Path) -> dict[str, Any]:
    """Tables with their columns, keys and indexes, however they came about."""
    tables = [name for (name,) in ask(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        table: (
            sorted(row[1:] for row in ask(path, f"PRAGMA table_info({table})")),
            sorted(row[2:] for row in ask(path, f"PRAGMA foreign_key_list({table})")),
            sorted(
                (row[2], *(column[2] for column in ask(path, f"PRAGMA index_info({row[1]})")))
                for row in ask(path, f"PRAGMA index_list({table})")
            ),
        )
        for table in tables
    }


@pytest.fixture(params=sorted(RELEASED))
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An inventory of a released version."""
    path = tmp_path / "inventory.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(RELEASED[request.param].read_text())
    return path


def test_the_first_schema_has_its_fixture() -> None:
    """Every later schema that is released adds one."""
    assert 1 in RELEASED
    assert max(RELEASED) <= SCHEMA_VERSION


async def test_an_old_inventory_keeps_all_that_it_knew(old: Path) -> None:
    """Rows, leases, kill switches, money and requests."""
    inventory = await SqlInventory.open(sqlite_url(old))
    running, gone, intended = [await inventory.get(a_hash(n)) for n in (1, 2, 3)]
    assert running and gone and intended
    assert (running.state, running.expires_at, running.lease_version) == (
        VmState.RUNNING,
        NOW + 3 * HOUR,
        2,
    )
    assert (running.host_ipv4, running.ssh_port) == ("127.0.0.2", 24000)
    assert (gone.state, gone.forgotten_at) == (VmState.GONE, NOW + HOUR)
    assert intended == a_vm(3)
    assert [len(await inventory.forgets(a_hash(n))) for n in (1, 2, 3)] == [2, 3, 3]
    assert await inventory.balances([a_hash(1), a_hash(2), a_hash(3)]) == {
        a_hash(1): (2 * RESERVE, 0),
        a_hash(2): (0, gone.cost_units(NOW + HOUR)),
        a_hash(3): (RESERVE, 0),
    }
    seen = await inventory.remembered("s1/key-1")
    assert seen and seen.answer == {"name": "vm-1"}
    assert await inventory.count(sorted(LIVE)) == 2
    await inventory.close()


async def test_an_old_inventory_works_on(old: Path) -> None:
    """Its VMs are extended and ended, new ones are admitted."""
    inventory = await SqlInventory.open(sqlite_url(old))
    await inventory.admit(an_intent(a_vm("new")), allow, NOW)
    await inventory.extend(a_hash(1), NOW + 4 * HOUR, 1, allow, NOW, "s1")
    await inventory.move(a_hash(3), VmState.DESTROYING, "test", NOW, destroy_at=NOW)
    assert (await inventory.record("note", "", "", NOW)).id > 11
    assert {vm.item_hash for vm in await inventory.due(NOW + timedelta(days=1), 10)} >= {a_hash(1), a_hash(3)}
    await inventory.close()


async def test_an_old_inventory_ends_with_the_schema_of_a_new_one(old: Path, tmp_path: Path) -> None:
    """Otherwise the steps and the tables have grown apart."""
    fresh = tmp_path / "fresh.db"
    for path in (old, fresh):
        await (await SqlInventory.open(sqlite_url(path))).close()
    assert shape(old) == shape(fresh)
    assert ask(old, "SELECT value FROM meta WHERE key = 'schema_version'") == [(str(SCHEMA_VERSION),)]


async def test_an_old_inventory_lies_beside_the_new_one_as_it_was(old: Path) -> None:
    """Until it is of the newest schema, there is a way back."""
    before = shape(old)
    version = int(ask(old, "SELECT value FROM meta WHERE key = 'schema_version'")[0][0])
    await (await SqlInventory.open(sqlite_url(old))).close()
    copy = old.with_name(f"{old.name}.schema-{version}.backup-with-kill-switches")
    assert copy.exists() == (version < SCHEMA_VERSION)
    if copy.exists():
        assert shape(copy) == before
        assert len(ask(copy, "SELECT * FROM forgets")) == 9
