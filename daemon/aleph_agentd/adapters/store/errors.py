"""What can go wrong with the store itself.

ports.StoreTrouble   the store did not do what was asked
├── StoreBroken      the file cannot be used: corrupt, unreadable, not ours
├── StoreTaken       another daemon's
├── StoreNewer       written by a newer aleph-agentd
└── StoreFull        no room on the disk; nothing was written
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from ...ports import StoreFull, StoreTrouble

_BROKEN = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_READONLY"})

_FULL = frozenset({"53100"})
_NOT_OURS = frozenset({"28", "3D", "42"})
"""PostgreSQL's classes: not let in, no such database, no such table or right."""
_LOST = frozenset({"08", "57"})
"""The connection failed; an operator ended it."""


class StoreBroken(StoreTrouble):
    """The database cannot be used; `reason` says why, `path` which one."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"the inventory {path} cannot be used: {reason}")
        self.path = path
        self.reason = reason

    @property
    def way_back(self) -> str:
        """What its owner can do, when it is a file."""
        if not Path(self.path).is_file():
            return ""
        return (
            "the file is kept as it is; move it away together with its -wal and -shm, then either put a backup "
            "(aleph-agentctl backup) in its place, or start with none and run: aleph-agentctl recover"
        )


class StoreTaken(StoreTrouble):
    """Another daemon uses this database."""


class StoreNewer(StoreTrouble):
    """The database has a newer schema than this program knows."""


def translated(
    error: DBAPIError | sqlite3.Error, path: str, *, secrets: Sequence[str] = (), committing: bool = False
) -> StoreTrouble:
    """A driver's error in our words, without `secrets`; `committing`: it came instead of the word that all is written."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    # Extended codes are the primary one with a suffix: SQLITE_CORRUPT_INDEX.
    name = "_".join(str(getattr(cause, "sqlite_errorname", "")).split("_")[:2])
    state = str(getattr(cause, "sqlstate", None) or "")
    words = _sentence(cause, secrets)
    if name == "SQLITE_FULL" or state in _FULL:
        return StoreFull(f"no room on the disk for the inventory {path}: {words}")
    if name in _BROKEN or state[:2] in _NOT_OURS:
        return StoreBroken(path, words)
    if committing and isinstance(error, DBAPIError) and (error.connection_invalidated or state[:2] in _LOST):
        return StoreTrouble(
            f"the inventory {path} was lost while it wrote, and whether it did is not known: read it again ({words})"
        )
    return StoreTrouble(f"the inventory {path} did not answer: {words}")


def _sentence(cause: object, secrets: Sequence[str]) -> str:
    # A server's first line alone: what follows (DETAIL) quotes rows, and they hold keys and kill switches.
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    words = str(primary or cause)
    for secret in secrets:
        words = words.replace(secret, "…")
    return " ".join(words.split())[:300]
