"""Several daemons on one database: what one of them is allowed, all of them know."""

import asyncio
import logging
import os
import signal
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import quote_plus

import psycopg
import pytest
from sqlalchemy import Connection, event

from aleph_agentd.adapters.store import SqlInventory, StoreBroken, StoreNewer, engine, patience
from aleph_agentd.adapters.store.errors import StoreTaken
from aleph_agentd.adapters.store.schema import meta
from aleph_agentd.domain.audit import Check
from aleph_agentd.domain.errors import Denied
from aleph_agentd.domain.model import Exposure, Vm, VmState
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
        there.replace(quote_plus(PASSWORD), "wrong")
        + f"&password={PASSWORD}".replace("&", "?", 1)
        + "&port=1",
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
async def test_a_transaction_that_sleeps_is_ended_by_the_server(server: Postgres) -> None:
    """Who holds the lock and does nothing loses it, and what it had not committed."""
    database = server.database()
    inventory = await SqlInventory.open(database)
    shorter = "SET idle_in_transaction_session_timeout = '100ms'"
    await inventory._transact(lambda connection: connection.exec_driver_sql(shorter) and None)
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


@pytest.mark.fleet
async def test_an_error_quotes_no_row(server: Postgres) -> None:
    """What a server adds to its sentence holds keys and kill switches; neither message nor traceback repeats it."""
    database = server.database()
    inventory = await SqlInventory.open(database)
    with psycopg.connect(server.dsn(database.rpartition("/")[2]), autocommit=True) as owner:
        owner.execute("ALTER TABLE guest_keys ADD CONSTRAINT none CHECK (length(private_key) < 5)")
    intent = an_intent(a_vm(), guest_key="-".join(["PRIV", "ATE"]))  # no line of a traceback has it in one
    with pytest.raises(StoreTrouble) as trouble:
        await inventory.admit(intent, allow, NOW)
    assert "violates check constraint" in str(trouble.value)
    assert "PRIV-ATE" not in "".join(traceback.format_exception(trouble.value)) + inventory.trouble
    await inventory.close()


@pytest.mark.fleet
@pytest.mark.parametrize("written", [True, False])
async def test_a_connection_lost_in_commit_is_told_as_unknown(server: Postgres, written: bool) -> None:
    """Nothing may be broadcast on it; who reads again learns which it was, and the same request is made once."""
    database = server.database()
    inventory = await SqlInventory.open(database)
    engine_ = inventory._writer

    def cut(connection: Connection) -> None:
        driver = connection.connection.dbapi_connection
        if written:
            driver.commit()
            driver.execute("SELECT 1")  # without a transaction there would be nothing to ask the server for
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as owner:
            owner.execute("SELECT pg_terminate_backend(%s, 5000)", (driver.info.backend_pid,))

    event.listen(engine_, "commit", cut)
    intent = an_intent(a_vm(), request_key="k", request_hash="h")
    with pytest.raises(StoreTrouble, match="not known: read it again"):
        await inventory.admit(intent, allow, NOW)
    event.remove(engine_, "commit", cut)
    assert (await inventory.get(a_hash(1)) is not None) is written
    assert (await inventory.remembered("k") is not None) is written
    if not written:
        await inventory.admit(intent, allow, NOW)
    assert (await inventory.exposure("s1", NOW)).reserved_units == RESERVE
    await inventory.close()


@pytest.mark.fleet
async def test_a_server_that_only_hangs_is_not_waited_for(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside a transaction it is trouble, and nothing is written; before one, another connection serves."""
    monkeypatch.setattr(patience, "LONGEST_S", 0.5)
    inventory = await SqlInventory.open(server.database())
    stopped = list[int]()

    def hang(_: Exposure) -> None:
        stopped.append(inventory._patience._connection.info.backend_pid)
        os.kill(stopped[-1], signal.SIGSTOP)

    try:
        with pytest.raises(StoreTrouble):
            await inventory.admit(an_intent(a_vm()), hang, NOW)
        assert await inventory.get(a_hash(1)) is None
        hang(await inventory.exposure("s1", NOW))
        assert await inventory.get(a_hash(1)) is None
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()
    assert await inventory.admit(an_intent(a_vm()), allow, NOW)
    await inventory.close()


@pytest.mark.fleet
async def test_who_opens_an_empty_database_at_once_makes_one_inventory(server: Postgres) -> None:
    """Of several that all found nothing, one makes the tables."""
    database = server.database()
    opened = await asyncio.gather(*(SqlInventory.open(database) for _ in range(4)))
    await opened[0].admit(an_intent(a_vm()), allow, NOW)
    assert await opened[3].get(a_hash(1)) is not None
    await asyncio.gather(*(one.close() for one in opened))


@pytest.mark.parametrize("uid", [65_534, 2**32 - 2])
async def test_a_uid_of_any_size_is_kept(inventory: SqlInventory, uid: int) -> None:
    """Those of containers and directories have all 32 bits."""
    await inventory.admit(an_intent(a_vm(uid=uid)), allow, NOW)
    seen = await inventory.exposure("s1", NOW, uid=uid)
    assert seen.unapproved_day_units == RESERVE


@pytest.mark.fleet
async def test_a_page_neither_waits_for_a_writer_nor_fails_for_one(server: Postgres) -> None:
    """Its last row may be changing."""
    database = server.database()
    inventory, other = await SqlInventory.open(database), await SqlInventory.open(database)
    await inventory.admit(an_intent(a_vm()), allow, NOW)

    def page_meanwhile(_: Exposure) -> None:
        with psycopg.connect(server.dsn(database.rpartition("/")[2])) as held:
            held.execute("SELECT 1 FROM vms FOR UPDATE")
            page = other.page(states=list(VmState), limit=1, after=a_hash(1))
            pages.append(asyncio.run_coroutine_threadsafe(page, loop).result(5))

    pages: list[list[Vm]] = []
    loop = asyncio.get_running_loop()
    await inventory.admit(an_intent(a_vm(2)), page_meanwhile, NOW)
    assert pages == [[]], "nothing is older"
    await inventory.close()
    await other.close()


def _error(code: str) -> Exception:
    from sqlalchemy.exc import OperationalError

    return OperationalError("INSERT", {}, psycopg.errors.lookup(code)("no space left"))
