"""Engines: where the database lies, and everything that is SQLite's own."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from .errors import StoreBroken, translated

WRITES = "aleph_writes"
"""Execution option of an engine whose transactions write."""

_PRAGMAS = (
    "PRAGMA busy_timeout=5000",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
)


def sqlite_url(path: Path) -> URL:
    """The URL of the database in this file."""
    return URL.create("sqlite", database=str(path))


def open_engine(url: URL | str) -> Engine:
    """An engine on a sound database. Raises StoreBroken when the database cannot be used."""
    try:
        url = make_url(url)
        if url.get_backend_name() != "sqlite":
            return create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True)
    except ArgumentError:
        # Its text would repeat the URL, with the password in it.
        raise StoreBroken("at the database URL", "it is not a URL such as sqlite:////path/to/file") from None
    except ImportError as error:
        raise StoreBroken("at the database URL", f"there is no driver for it: {error}") from error
    path = Path(url.database or "")
    _make_private(path)
    engine = create_engine(url, connect_args={"isolation_level": None}, pool_size=1, max_overflow=0)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    _check(engine, path)
    return engine


def where(engine: Engine) -> str:
    """The database as people name it: the file, or the address without its password."""
    return (
        engine.url.database or "" if _is_sqlite(engine) else engine.url.render_as_string(hide_password=True)
    )


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
