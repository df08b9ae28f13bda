"""Several daemons on one database: what one of them is allowed, all of them know."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import psycopg
import pytest

from aleph_agentd.adapters.store import SqlInventory, StoreBroken, StoreNewer, engine
from aleph_agentd.adapters.store.errors import StoreTaken
from aleph_agentd.adapters.store.schema import meta
from aleph_agentd.domain.audit import Check
from aleph_agentd.domain.errors import Denied
from aleph_agentd.domain.model import Exposure
from aleph_agentd.ports import StoreFull, StoreTrouble
from support.inventory import NOW, RESERVE, a_hash, a_vm, allow, an_intent
from support.postgres import PASSWORD, Postgres

pytest_plugins = ["support.store_fixtures"]

DAEMONS, EACH, ROOM = 5, 40, 50


@pytest.fixture
async def daemons(database: str) -> AsyncIterator[list[SqlInventory]]:
    """As many connections, each with a thread of its own."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(DAEMONS):
            opened.append(await SqlInventory.open(database))
            stack.push_async_callback(opened[-1].close)
        yield opened


def room_for_fifty(exposure: Exposure) -> None:
    """A limit on money and on VMs."""
    if exposure.live_vms >= ROOM or exposure.reserved_units + RESERVE > ROOM * RESERVE:
        raise Denied("enough", code="daily")


async def test_two_hundred_creates_against_room_for_fifty_are_exactly_fifty(
    daemons: list[SqlInventory],
) -> None:
    """Whichever daemon asks; and their audit logs are one chain."""
    asked = [
        daemon.admit(an_intent(a_vm(f"{number}-{n}")), room_for_fifty, NOW)
        for number, daemon in enumerate(daemons)
        for n in range(EACH)
    ]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(outcome, Denied) for outcome in outcomes) == DAEMONS * EACH - ROOM
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == ROOM
    for daemon in daemons:
        exposure = await daemon.exposure("s1", NOW)
        assert (exposure.live_vms, exposure.reserved_units) == (ROOM, ROOM * RESERVE)
    check = Check(await daemons[0].audit_base(), [])
    assert check.add(await daemons[1].audit_page(0, 10_000))
    assert check.verdict().problem == ""
    assert check.head == await daemons[2].audit_head()
    assert check.head.n >= ROOM


@pytest.mark.fleet
async def test_no_error_and_no_log_line_shows_the_password(
    server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the server is not there, knows nobody of this name, or has no such database."""
    caplog.set_level(logging.DEBUG)
    there = server.database()
    for url in (
        there.replace(f":{server.port}/", ":1/"),
        there.replace("//aleph:", "//nobody:"),
        there + "none",
        there.replace("127.0.0.1", "no such host"),
        there + "?nonsense=1",
        f"postgresql+psycopg://aleph:{PASSWORD}@127.0.0.1:1/none",
        f"postgresql+psycopg://aleph@127.0.0.1:{PASSWORD}/none",
        there.replace("+psycopg", "+nodriver"),
    ):
        with pytest.raises(StoreTrouble) as trouble:
            await SqlInventory.open(url)
        said = f"{trouble.value} {trouble.getrepr(chain=True)}"
        assert not [part for part in ("secret", "not:a", "not%3Aa") if part in said + caplog.text], said


@pytest.mark.fleet
async def test_a_server_that_dies_in_a_transaction_leaves_all_of_it_undone(server: Postgres) -> None:
    """Nothing is known, so nothing may be broadcast; when it is back, so is the inventory."""
    inventory = await SqlInventory.open(server.database())

    def crash(_: Exposure) -> None:
        server.stop("immediate")

    try:
        with pytest.raises(StoreTrouble):
            await inventory.admit(an_intent(a_vm()), crash, NOW)
        assert inventory.trouble
        with pytest.raises(StoreTrouble):
            await inventory.get(a_hash(1))
    finally:
        server.start()
    assert await inventory.get(a_hash(1)) is None
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    assert await inventory.get(a_hash(1)) is not None
    assert inventory.trouble == ""
    await inventory.close()


@pytest.mark.fleet
async def test_a_writer_that_hangs_holds_up_the_others_for_seconds_only(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process keeps its connection: the server ends its transaction, or whoever waits is told."""
    monkeypatch.setitem(engine._SERVER_SETTINGS, "lock_timeout", "200ms")
    inventory = await SqlInventory.open(server.database())
    name = inventory._engine.url.database
    async with await psycopg.AsyncConnection.connect(server.dsn(str(name))) as other:
        await other.execute("SELECT pg_advisory_xact_lock(%s)", (engine._WRITERS,))
        with pytest.raises(StoreTrouble):
            await inventory.admit(an_intent(a_vm()), allow, NOW)
        assert await inventory.get(a_hash(1)) is None, "who reads never waits"
    assert await inventory.admit(an_intent(a_vm()), allow, NOW)
    await inventory.close()


@pytest.mark.fleet
async def test_a_transaction_that_sleeps_is_ended_by_the_server(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds the lock and does nothing loses it, and what it had not committed."""
    monkeypatch.setitem(engine._SERVER_SETTINGS, "idle_in_transaction_session_timeout", "100ms")
    database = server.database()
    inventory = await SqlInventory.open(database)
    monkeypatch.undo()
    other = await SqlInventory.open(database)

    def sleep(_: Exposure) -> None:
        with psycopg.connect(server.dsn("postgres")) as clock:
            clock.execute("SELECT pg_sleep(0.5)")

    with pytest.raises(StoreTrouble):
        await inventory.admit(an_intent(a_vm()), sleep, NOW)
    assert await other.get(a_hash(1)) is None
    assert await other.admit(an_intent(a_vm()), allow, NOW)
    await inventory.close()
    await other.close()


@pytest.mark.fleet
async def test_a_full_or_foreign_or_newer_database_is_told_as_such(server: Postgres) -> None:
    """As with a file."""
    database = server.database()
    await (await SqlInventory.open(database)).close()
    name = database.rpartition("/")[2]
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        connection.execute(f"UPDATE {meta.name} SET value = '999' WHERE key = 'schema_version'")
        with pytest.raises(StoreNewer):
            await SqlInventory.open(database)
        connection.execute(f"DROP TABLE {meta.name}")
        with pytest.raises(StoreBroken):
            await SqlInventory.open(database)
    full = engine.translated(_error("53100"), "there")
    assert isinstance(full, StoreFull)


@pytest.mark.fleet
async def test_a_database_is_one_daemon_s(server: Postgres) -> None:
    """The second is refused while the first lives; one that lost its connection and its place is refused as well."""
    database = server.database()
    first = await SqlInventory.open(database, alone=True)
    with pytest.raises(StoreTaken, match="another aleph-agentd"):
        await SqlInventory.open(database, alone=True)
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (database.rpartition("/")[2],),
        )
    second = await SqlInventory.open(database, alone=True)
    with pytest.raises(StoreTaken):
        await first.admit(an_intent(a_vm()), allow, NOW)
    await second.close()
    assert await first.admit(an_intent(a_vm()), allow, NOW)
    await first.close()


def _error(code: str) -> Exception:
    from sqlalchemy.exc import OperationalError

    return OperationalError("INSERT", {}, psycopg.errors.lookup(code)("no space left"))
