"""An empty inventory in each engine that it can lie in; PostgreSQL's under the marker `fleet`."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from aleph_agentd.adapters.store import SqlInventory, sqlite_url
from support.inventory import Query, Unwritable
from support.postgres import Postgres, missing, postgres


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """One PostgreSQL for all tests of this process."""
    if why := missing():
        pytest.skip(why)
    with postgres() as started:
        yield started


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.fleet)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return str(sqlite_url(tmp_path / "state" / "inventory.db"))
    server: Postgres = request.getfixturevalue("server")
    return server.database()


@pytest.fixture
async def inventory(database: str) -> AsyncIterator[SqlInventory]:
    """An empty inventory."""
    opened = await SqlInventory.open(database)
    yield opened
    await opened.close()


@pytest.fixture
def query(database: str) -> Query:
    """What the database itself holds, asked over a connection of its own."""

    def ask(statement: str) -> list[tuple[Any, ...]]:
        engine = create_engine(database)
        try:
            with engine.begin() as connection:
                found = connection.execute(text(statement))
                return [tuple(row) for row in found] if found.returns_rows else []
        finally:
            engine.dispose()

    return ask


@pytest.fixture
def unwritable(database: str, query: Query) -> Unwritable:
    """A table that takes no row for a while."""
    on_server = database.startswith("postgresql")

    @contextmanager
    def stop(table: str) -> Iterator[None]:
        if on_server:
            query(f"ALTER TABLE {table} ADD CONSTRAINT stop CHECK (false) NOT VALID")
        else:
            query(f"CREATE TRIGGER stop BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk'); END")
        yield
        query(f"ALTER TABLE {table} DROP CONSTRAINT stop" if on_server else "DROP TRIGGER stop")

    return stop
