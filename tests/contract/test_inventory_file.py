"""The inventory's file: private, durable, refused when it is not sound, and heard when it changes."""

import asyncio
import shutil
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from aleph_agentd.adapters.store import SqlInventory, StoreBroken, StoreFull, StoreNewer, sqlite_url
from aleph_agentd.adapters.store import leases as store_leases
from aleph_agentd.adapters.store.engine import open_engine
from aleph_agentd.adapters.store.migrations import SCHEMA_VERSION, migrate
from aleph_agentd.domain.errors import Denied
from aleph_agentd.domain.model import LIVE, Exposure
from aleph_agentd.ports import StoreTrouble
from support.inventory import HOUR, NOW, a_hash, a_vm, allow, an_intent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database shall lie; neither it nor its directory exists."""
    return tmp_path / "state" / "inventory.db"


@pytest.fixture
async def inventory(path: Path) -> AsyncIterator[SqlInventory]:
    """An empty inventory."""
    opened = await SqlInventory.open(sqlite_url(path))
    yield opened
    await opened.close()


async def reopened(path: Path) -> SqlInventory:
    """The same database, as after a restart."""
    return await SqlInventory.open(sqlite_url(path))


def query(path: Path, sql: str) -> list[Any]:
    """What the file itself says."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(sql).fetchall()
        connection.commit()
    return rows


async def test_the_file_is_its_owners_alone(inventory: SqlInventory, path: Path) -> None:
    """It holds kill switches; its log and its directory as well."""
    await inventory.record("note", "", "", NOW)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    """Whatever the umask was."""
    path.parent.mkdir()
    path.touch(0o644)
    await (await reopened(path)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_a_method_returned_is_in_the_file(inventory: SqlInventory, path: Path) -> None:
    """A copy made without closing, as a crash leaves it, has the row and its money."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    crashed = path.parent.parent / "crashed"
    shutil.copytree(path.parent, crashed)
    after = await reopened(crashed / path.name)
    assert await after.get(a_hash(1)) == a_vm()
    assert await after.next_due_at() == a_vm().expires_at
    assert len(await after.ledger(10)) == 1
    await after.close()


async def test_the_engine_waits_for_the_disk(inventory: SqlInventory) -> None:
    """WAL with synchronous=FULL, foreign keys on, a busy time-out."""

    def pragmas(connection: Connection) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in names]

    assert await inventory._read(pragmas) == ["wal", 2, 1, 5000]


async def test_events_keep_their_order_over_restarts_and_are_bounded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are never used twice; the oldest events go."""
    monkeypatch.setattr("aleph_agentd.adapters.store.events.KEPT", 3)
    monkeypatch.setattr("aleph_agentd.adapters.store.events._PRUNE_EVERY", 2)
    first = await reopened(path)
    for n in range(6):
        await first.record("note", "", str(n), NOW)
    assert [event.text for event in await first.events(0, 10)] == ["3", "4", "5"]
    for n in range(4):
        await first.admit(an_intent(a_vm(n)), allow, NOW)
    await first.reap(NOW + HOUR, NOW + HOUR, 4)
    assert [event.kind for event in await first.events(0, 20)] == ["destroying"] * 3
    await first.close()
    query(path, "DELETE FROM events")
    second = await reopened(path)
    assert (await second.record("note", "", "", NOW)).id == 15
    await second.close()


async def test_a_cancelled_caller_leaves_all_or_nothing_and_is_heard(inventory: SqlInventory) -> None:
    """The transaction that runs goes on to its end; the listener hears of it all the same."""
    begun, go, heard = threading.Event(), threading.Event(), asyncio.Event()
    inventory.on_change = heard.set

    def slow(_: Exposure) -> None:
        begun.set()
        assert go.wait(10)

    running = asyncio.create_task(inventory.admit(an_intent(a_vm(1)), slow, NOW))
    await asyncio.to_thread(begun.wait, 10)
    waiting = asyncio.create_task(inventory.admit(an_intent(a_vm(2)), allow, NOW))
    await asyncio.sleep(0)
    running.cancel()
    waiting.cancel()
    results = await asyncio.gather(running, waiting, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    go.set()
    await asyncio.wait_for(heard.wait(), 10)
    assert await inventory.get(a_hash(1)) == a_vm(1)
    assert await inventory.get(a_hash(2)) is None
    assert inventory.version == 1


async def test_a_failure_in_the_middle_of_an_admission_leaves_nothing(
    inventory: SqlInventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row, messages and money were written already when the last step failed."""

    def broken(*_: object) -> None:
        raise RuntimeError("power")

    with monkeypatch.context() as patch:
        patch.setattr(store_leases.events, "record", broken)
        with pytest.raises(RuntimeError):
            await inventory.admit(an_intent(a_vm(), request_key="k"), allow, NOW)
    assert await inventory.get(a_hash(1)) is None
    assert await inventory.create_message(a_hash(1)) is None
    assert await inventory.ledger(10) == []
    assert await inventory.remembered("k") is None


async def test_the_listener_hears_of_writes_only_once_they_are_committed(inventory: SqlInventory) -> None:
    """In the event loop, before the writer goes on; not of reads, nor of what was rolled back."""
    seen: list[tuple[int, str]] = []

    def deny(_: Exposure) -> None:
        raise Denied("no")

    inventory.on_change = lambda: seen.append((inventory.version, threading.current_thread().name))
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    assert seen == [(1, threading.current_thread().name)]
    await inventory.get(a_hash(1))
    with pytest.raises(Denied):
        await inventory.admit(an_intent(a_vm(2)), deny, NOW)
    await inventory.note(a_hash(1), warned="stale")
    assert [version for version, _ in seen] == [1, 2]


@pytest.mark.parametrize("spoil", ["text", "header", "middle", "directory", "foreign"])
async def test_a_database_that_is_not_sound_is_refused_with_its_name(path: Path, spoil: str) -> None:
    """And left as it is."""
    opened = await reopened(path)
    for n in range(30):
        await opened.admit(an_intent(a_vm(n)), allow, NOW)
    await opened.close()
    content = path.read_bytes()
    path.unlink()
    if spoil == "directory":
        path.mkdir()
    elif spoil == "foreign":
        query(path, "CREATE TABLE others (x)")
    else:
        third = len(content) // 3
        spoilt = {
            "text": b"[{}]" * 1000,
            "header": b"\0" * 100 + content[100:],
            "middle": content[:third] + b"\xa5" * third + content[2 * third :],
        }
        path.write_bytes(spoilt[spoil])
    with pytest.raises(StoreBroken, match=r"inventory\.db") as broken:
        await reopened(path)
    assert broken.value.path == str(path)
    assert broken.value.reason
    assert "\n" not in str(broken.value)
    assert path.exists()


async def test_a_full_disk_is_told_apart_and_loses_nothing(inventory: SqlInventory) -> None:
    """The transaction is rolled back; when there is room again, work goes on."""
    await inventory.admit(an_intent(a_vm(1)), allow, NOW)

    def limit(pages: int) -> Callable[[Connection], None]:
        return lambda connection: connection.execute(text(f"PRAGMA max_page_count={pages}")).close()

    await inventory._read(limit(1))
    with pytest.raises(StoreFull):
        for n in range(2, 100):
            await inventory.admit(an_intent(a_vm(n, purpose="x" * 4000)), allow, NOW)
    assert await inventory.get(a_hash(1)) == a_vm(1)
    await inventory._read(limit(100_000))
    await inventory.admit(an_intent(a_vm("after")), allow, NOW)


async def test_a_database_that_another_program_holds_is_trouble_not_silence(
    inventory: SqlInventory, path: Path
) -> None:
    """After the busy time-out, in one line."""
    await inventory._read(lambda connection: connection.execute(text("PRAGMA busy_timeout=1")).close())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreTrouble, match="did not answer: database is locked"):
            await inventory.record("note", "", "", NOW)
        other.execute("ROLLBACK")
    await inventory.record("note", "", "", NOW)


@pytest.mark.parametrize(
    "url", ["nonsense:hunter2", "postgresql+none://u:hunter2@db/x", "mssql+nope://u:hunter2@x"]
)
async def test_a_url_that_no_engine_takes_is_one_error_without_its_password(url: str) -> None:
    """Neither a traceback nor a secret."""
    with pytest.raises(StoreBroken) as broken:
        await SqlInventory.open(url)
    assert "hunter2" not in str(broken.value)


async def test_a_database_of_a_newer_program_is_refused(path: Path) -> None:
    """Writing with an old schema's idea would spoil it."""
    await (await reopened(path)).close()
    query(path, "UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(StoreNewer, match="has schema 99"):
        await reopened(path)


async def test_an_older_database_is_copied_and_then_migrated_step_by_step(path: Path) -> None:
    """The copy is private and holds what was there; a step that fails changes nothing."""
    opened = await reopened(path)
    await opened.admit(an_intent(a_vm()), allow, NOW)
    await opened.close()
    engine = open_engine(sqlite_url(path))
    now = SCHEMA_VERSION

    def fails(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE vms ADD COLUMN lost TEXT"))
        raise RuntimeError("half way")

    def works(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE vms ADD COLUMN colour TEXT"))

    with pytest.raises(RuntimeError):
        migrate(engine, {now + 1: works, now + 2: fails}, now + 2)
    assert query(path, "SELECT value FROM meta WHERE key = 'schema_version'") == [(str(now + 1),)]
    migrate(engine, {now + 1: fails, now + 2: lambda _: None}, now + 2)
    engine.dispose()
    assert query(path, "SELECT value FROM meta WHERE key = 'schema_version'") == [(str(now + 2),)]
    columns = [row[1] for row in query(path, "PRAGMA table_info(vms)")]
    assert "colour" in columns
    assert "lost" not in columns
    copy = path.with_name(f"inventory.db.schema-{now}.backup-with-kill-switches")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert query(copy, "SELECT item_hash FROM vms") == [(a_hash(1),)]


async def test_no_question_of_every_call_reads_a_whole_table(inventory: SqlInventory) -> None:
    """With ten thousand VMs, only indexes keep admissions, pages and alarms fast."""
    asked: list[tuple[str, Any]] = []
    await inventory.admit(an_intent(a_vm(1)), allow, NOW)
    event.listen(inventory._engine, "before_cursor_execute", lambda *args: asked.append(args[2:4]))
    await inventory.exposure("s1", NOW)
    await inventory.page(states=list(LIVE), limit=10, after=a_hash(1))
    await inventory.due(NOW, 10)
    await inventory.next_due_at()
    await inventory.find("vm-1")
    await inventory.find(a_hash(1)[:10])
    await inventory.attempts_of("create-1")
    await inventory.balances([a_hash(1)])
    await inventory.next_forget(a_hash(1))
    await inventory.events(0, 10)
    await inventory.ledger(10)
    selects = [(sql, values) for sql, values in asked if sql.startswith("SELECT")]

    def plans(connection: Connection) -> list[str]:
        explained = (
            connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values) for sql, values in selects
        )
        return [row[3] for rows in explained for row in rows]

    steps = await inventory._read(plans)
    assert len(selects) >= 15
    # The open reservations, summed; a day's grants of one uid; the ledger's newest by its key.
    allowed = {"SCAN anon_1", "SCAN anon_2", "SCAN ledger"}
    assert {step for step in steps if step.startswith("SCAN")} <= allowed | {
        step for step in steps if "INDEX" in step
    }


async def test_a_database_of_the_first_schema_gets_its_extensions_and_keeps_its_rows(path: Path) -> None:
    """The same tables as a new one."""
    opened = await reopened(path)
    await opened.admit(an_intent(a_vm()), allow, NOW)
    await opened.close()
    fresh = query(path, "SELECT name, type FROM pragma_table_info('extensions') ORDER BY name")
    for table in ("extensions", "audit", "approvals", "freezes", "guest_keys"):
        query(path, f"DROP TABLE {table}")
    for column in ("host_lost_at", "idle_minutes", "save_paths", "saved"):
        query(path, f"ALTER TABLE vms DROP COLUMN {column}")
    for column in ("uid", "approval"):
        query(path, f"ALTER TABLE ledger DROP COLUMN {column}")
    query(path, "UPDATE meta SET value = '1' WHERE key = 'schema_version'")
    opened = await reopened(path)
    assert await opened.unpublished(10) == []
    assert (await opened.get(a_hash(1))) is not None
    await opened.close()
    assert query(path, "SELECT name, type FROM pragma_table_info('extensions') ORDER BY name") == fresh
