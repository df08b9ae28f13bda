"""Copies of the inventory while it is in use, by SQLite's own online backup."""

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from ...domain.errors import Unavailable
from ...ports import StoreTrouble
from .errors import translated
from .inventory import SqlInventory
from .restoring import STARTS


class SqlBackups:
    """The `Backups` port. A copy is a file without a name: it cannot be left behind."""

    def __init__(self, inventory: SqlInventory, directory: Path) -> None:
        self._inventory, self._directory = inventory, directory

    async def open(self) -> BinaryIO:
        """A copy. Raises Unavailable for a server's database, StoreTrouble when there is no room."""
        return await self._inventory.with_driver(self._copy)

    def _copy(self, source: Any) -> BinaryIO:
        if not isinstance(source, sqlite3.Connection):
            raise Unavailable(
                "The inventory is a server's database.", "Copy it with that server's tools: pg_dump."
            )
        # Named for what it holds, should the daemon die while it has a name (rules.md 23).
        path = self._directory / f"inventory-backup-with-kill-switches-{secrets.token_hex(4)}.db"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            copy = os.fdopen(handle, "rb")
            try:
                with closing(sqlite3.connect(path)) as target:
                    source.backup(target)
                    # Whatever the counter beside it says: put back, it is an old copy (rules.md 7).
                    target.execute("UPDATE meta SET value = '-1' WHERE key = ?", (STARTS,)).close()
                    target.commit()
                    # One file is all that travels.
                    target.execute("PRAGMA journal_mode=DELETE").close()
            except BaseException:
                copy.close()
                raise
            finally:
                path.unlink()
        except sqlite3.Error as error:
            raise translated(error, str(path)) from error
        except OSError as error:
            raise StoreTrouble(f"no copy could be made in {self._directory}: {error.strerror}") from error
        return copy
