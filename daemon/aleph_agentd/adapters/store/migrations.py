"""Numbered changes of the schema. A new database is made whole; an old one is copied first."""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, Engine, insert, inspect, select, text, update

from .engine import WRITES, back_up, where
from .errors import StoreBroken, StoreNewer
from .schema import meta, metadata

SCHEMA_VERSION = 5

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


_STEP_4 = """
CREATE TABLE audit (n INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, at BIGINT NOT NULL, kind TEXT NOT NULL,
  actor TEXT NOT NULL, session TEXT NOT NULL, request_key TEXT NOT NULL, item_hash TEXT NOT NULL,
  text TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TABLE approvals (id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL,
  uid INTEGER NOT NULL, pid INTEGER NOT NULL, session TEXT NOT NULL, project TEXT NOT NULL,
  client TEXT NOT NULL, parents TEXT NOT NULL, request TEXT NOT NULL, fingerprint TEXT NOT NULL,
  units BIGINT NOT NULL, rate TEXT NOT NULL, policy_version TEXT NOT NULL, asked_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL, decided_at BIGINT, decided_by TEXT NOT NULL, outcome TEXT NOT NULL);
CREATE INDEX ix_approvals_state ON approvals (state, expires_at);
CREATE TABLE freezes (n INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, at BIGINT NOT NULL, kind TEXT NOT NULL,
  project TEXT NOT NULL, "by" TEXT NOT NULL, reason TEXT NOT NULL, lifted_at BIGINT, lifted_by TEXT NOT NULL);
CREATE TABLE guest_keys (item_hash TEXT NOT NULL PRIMARY KEY, private_key TEXT NOT NULL,
  host_key TEXT NOT NULL DEFAULT '', setup TEXT NOT NULL DEFAULT '', setup_result TEXT,
  FOREIGN KEY(item_hash) REFERENCES vms (item_hash) ON DELETE CASCADE);
ALTER TABLE ledger ADD COLUMN uid INTEGER NOT NULL DEFAULT '-1';
ALTER TABLE ledger ADD COLUMN approval TEXT NOT NULL DEFAULT ''
"""


def _audit_approvals_freezes(connection: Connection) -> None:
    """4: what was done, what waits for a human, and what a human has stopped."""
    for statement in _STEP_4.split(";"):
        connection.execute(text(statement))


_STEP_5 = """
ALTER TABLE vms ADD COLUMN idle_minutes INTEGER NOT NULL DEFAULT '0';
ALTER TABLE vms ADD COLUMN save_paths TEXT NOT NULL DEFAULT '';
ALTER TABLE vms ADD COLUMN saved TEXT NOT NULL DEFAULT ''
"""


def _idle_and_saved(connection: Connection) -> None:
    """5: VMs that end when they are idle, and what is taken out of them before they end."""
    for statement in _STEP_5.split(";"):
        connection.execute(text(statement))


STEPS: Mapping[int, Step] = {
    2: _published_extensions,
    3: _lost_hosts,
    4: _audit_approvals_freezes,
    5: _idle_and_saved,
}
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
    if found and found < target:
        back_up(engine, found)
    for version in range(found + 1, target + 1):
        with writer.begin() as connection:
            # Asked again where nobody else writes: another daemon may have done it meanwhile.
            found = _version(connection, where(engine))
            if not found:
                metadata.create_all(connection)
                connection.execute(insert(meta).values(key=_KEY, value=str(target)))
                return
            if found < version:
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
