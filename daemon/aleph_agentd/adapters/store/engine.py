"""Engines: where the database lies, and everything that is one engine's own."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from ...ports import StoreTrouble
from .errors import StoreBroken, StoreTaken, translated

WRITES = "aleph_writes"
"""Execution option of an engine whose transactions write."""

_PRAGMAS = (
    "PRAGMA busy_timeout=5000",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
)


_WRITERS, _DAEMON = 0x616C6570685F7764, 0x616C6570685F6469
"""The advisory locks of whoever writes, and of the one daemon: the same numbers in every version, or two versions would
not exclude each other."""

_SERVER_SETTINGS = {
    "application_name": "aleph-agentd",
    "lock_timeout": "10s",
    "statement_timeout": "20s",
    "idle_in_transaction_session_timeout": "5s",
    "default_transaction_isolation": "repeatable read",
    # What we then broadcast is on its disk, whatever the server's own default is.
    "synchronous_commit": "on",
    # A machine that vanished holds its locks for a minute, not for two hours.
    "tcp_keepalives_idle": "30s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "3",
}
"""Ours last milliseconds. A stopped process that holds the writers' lock loses it before those who wait give up."""
_CONNECT = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_EXAMPLE = "postgresql+psycopg://user@host/database"


def sqlite_url(path: Path) -> URL:
    """The URL of the database in this file."""
    return URL.create("sqlite", database=str(path))


def server_url(text: str, password: str | None = None) -> URL:
    """The setting's text as a URL, with a password that lies elsewhere. Raises StoreBroken, which repeats nothing of it: there may be a password in it."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StoreBroken("at the database URL", f"it is not a URL such as {_EXAMPLE}") from None
    # A password with an @ or a / in it is cut there, and its rest becomes the host or the database: which are shown.
    if "@" in f"{url.host}{url.database}":
        raise StoreBroken(
            "at the database URL",
            "its password has an @ or a / in it: write %40 or %2F, or put it into a file",
        )
    return url if password is None else url.set(password=password)


def open_engine(url: URL | str, *, alone: bool = False) -> Engine:
    """An engine on a sound database; `alone`: a server lets nobody else in who asks for that.

    Raises StoreBroken when the database cannot be used.
    """
    url = url if isinstance(url, URL) else server_url(url)
    try:
        if url.get_backend_name() != "sqlite":
            return _server(url, alone=alone)
    except (ImportError, ArgumentError):
        raise StoreBroken(
            "at the database URL",
            f"there is no driver for it; it is a URL such as {_EXAMPLE}, and needs the extra `fleet`",
        ) from None
    path = Path(url.database or "")
    _make_private(path)
    engine = create_engine(
        url, connect_args={"isolation_level": None}, pool_size=1, max_overflow=0, hide_parameters=True
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    _check(engine, path)
    return engine


def _server(url: URL, *, alone: bool) -> Engine:
    settings = " ".join(f"-c {name}={_escaped(value)}" for name, value in _SERVER_SETTINGS.items())
    engine = create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={**_CONNECT, "options": settings},
    )
    event.listen(engine, "begin", _begin_on_server)
    if alone:
        event.listen(engine, "connect", _be_alone)
    return engine


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def where(engine: Engine) -> str:
    """The database as people name it: the file, or the address without its password and whatever else it is given."""
    url = engine.url
    return url.database or "" if _is_sqlite(engine) else url.set(query={}).render_as_string()


def trouble(error: DBAPIError | sqlite3.Error, engine: Engine, *, committing: bool = False) -> StoreTrouble:
    """What to raise for it. Of a server's errors a traceback may show nothing: they quote the rows they are about."""
    parts = [engine.url.password, *(engine.url.query.get(name) for name in ("password", "sslpassword"))]
    secrets = [str(part) for part in parts if part]
    told = translated(error, where(engine), secrets=secrets, committing=committing)
    told.__cause__ = error if _is_sqlite(engine) else None
    told.__suppress_context__ = True
    return told


def back_up(engine: Engine, version: int) -> Path | None:
    """Copy an SQLite database beside itself, readable by its owner alone; None for a server's database."""
    if not _is_sqlite(engine):
        return None
    path = Path(where(engine))
    # Named for what it holds (rules.md 23).
    target = path.with_name(f"{path.name}.schema-{version}.backup-with-kill-switches")
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    with engine.connect() as connection, closing(sqlite3.connect(target)) as copy:
        source: Any = connection.connection.dbapi_connection
        source.backup(copy)
    _sync(target)
    return target


def _is_sqlite(engine: Engine) -> bool:
    return engine.url.get_backend_name() == "sqlite"


def _make_private(path: Path) -> None:
    """The file exists, on disk, and nobody else may read it: it holds kill switches."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        _sync(path.parent)
    except OSError as error:
        raise StoreBroken(str(path), error.strerror or str(error)) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _prepare(connection: Any, _: ConnectionPoolEntry) -> None:
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma).close()
    except sqlite3.Error:
        connection.close()  # the pool never got it
        raise


def _begin(connection: Connection) -> None:
    # The driver's own BEGIN comes late and deferred: two writers could both read, and one fail.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _be_alone(connection: Any, _: ConnectionPoolEntry) -> None:
    """Held by the session, and asked for again with each new one: who came in between stays."""
    try:
        (is_free,) = connection.execute("SELECT pg_try_advisory_lock(%s)", (_DAEMON,)).fetchone()
        connection.rollback()
        if not is_free:
            raise StoreTaken(
                "another aleph-agentd uses this inventory's database: one database is one daemon's"
            )
    except BaseException:
        connection.close()  # the pool never got it
        raise


def _begin_on_server(connection: Connection) -> None:
    """Let one transaction write at a time, in all daemons.

    What SQLite's BEGIN IMMEDIATE is for one machine. A check of all limits reads nearly every table, and each write
    extends one chain (audit): with row locks or SERIALIZABLE nearly all would collide and be done again, without
    a bound. They last milliseconds. The lock ends with its transaction, also when its daemon dies.
    """
    if connection.get_execution_options().get(WRITES, False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        # Each statement after this one sees what the writer before us committed.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_WRITERS,))


def _check(engine: Engine, path: Path) -> None:
    try:
        with engine.begin() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    except (DBAPIError, sqlite3.Error) as error:
        engine.dispose()
        raise translated(error, str(path)) from error
    if found != "ok":
        engine.dispose()
        raise StoreBroken(str(path), " ".join(str(found).split()))
