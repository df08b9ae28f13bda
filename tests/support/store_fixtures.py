"""An empty inventory in each engine that it can lie in; PostgreSQL's under the marker `fleet`."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aleph_agentd.adapters.store import SqlInventory, sqlite_url
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
