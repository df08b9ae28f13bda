"""Numbered changes of the schema. A new database is made whole; an old one is copied first."""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, Engine, insert, inspect, select, text, update

from .engine import WRITES, back_up, where
from .errors import StoreBroken, StoreNewer
from .schema import meta, metadata

SCHEMA_VERSION = 3

Step = Callable[[Connection], None]


def _published_extensions(connection: Connection) -> None:
    """2: extensions are published, and their signed messages kept."""
    connection.execute(
        text(
            "CREATE TABLE extensions (item_hash TEXT NOT NULL, n INTEGER NOT NULL, message_hash TEXT NOT NULL, "
            "body TEXT NOT NULL, dated_at BIGINT NOT NULL, confirmed_at BIGINT, PRIMARY KEY (item_hash, n), "
            "FOREIGN KEY(item_hash) REFERENCES vms (item_hash) ON DELETE CASCADE)"
        )
    )
    connection.execute(text("CREATE INDEX ix_extensions_dated_at ON extensions (dated_at)"))


def _lost_hosts(connection: Connection) -> None:
    """3: since when a VM's CRN is not to be found."""
    connection.execute(text("ALTER TABLE vms ADD COLUMN host_lost_at BIGINT"))


STEPS: Mapping[int, Step] = {2: _published_extensions, 3: _lost_hosts}
"""Version to the step that leads there from the one before; never edited once released."""

_KEY = "schema_version"


def migrate(engine: Engine, steps: Mapping[int, Step] = STEPS, target: int = SCHEMA_VERSION) -> None:
    """Bring a database to the schema of this program; each step is one transaction."""
    with engine.begin() as connection:
        found = _version(connection, where(engine))
    if found > target:
        raise StoreNewer(
            f"the inventory {where(engine)} has schema {found}, this aleph-agentd knows up to {target}: "
            "start the newer version again, or restore the copy made before its first start"
        )
    writer = engine.execution_options(**{WRITES: True})
    if not found:
        with writer.begin() as connection:
            metadata.create_all(connection)
            connection.execute(insert(meta).values(key=_KEY, value=str(target)))
        return
    if found < target:
        back_up(engine, found)
    for version in range(found + 1, target + 1):
        with writer.begin() as connection:
            steps[version](connection)
            connection.execute(update(meta).where(meta.c.key == _KEY).values(value=str(version)))


def _version(connection: Connection, path: str) -> int:
    tables = inspect(connection).get_table_names()
    if not tables:
        return 0
    version = connection.scalar(select(meta.c.value).where(meta.c.key == _KEY)) if "meta" in tables else None
    if version is None or not version.isdigit():
        raise StoreBroken(path, "it is a database, but not an inventory of aleph-agentd")
    return int(version)
