"""What the network must not forget when it is stopped or killed: small JSON documents in SQLite."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS docs (kind TEXT, key TEXT, body TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID
"""


class Store:
    """Documents by kind and key. A change costs one small write, however many documents there are."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        # A killed process loses nothing that the kernel has; a power cut may, and no test pulls the plug.
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(_SCHEMA)

    def put(self, kind: str, key: str, body: Any) -> None:
        """Write one document."""
        self._db.execute("INSERT OR REPLACE INTO docs VALUES (?, ?, ?)", (kind, key, json.dumps(body)))

    def get(self, kind: str, key: str) -> Any:
        """Read one document, or None."""
        row = self._db.execute("SELECT body FROM docs WHERE kind=? AND key=?", (kind, key)).fetchone()
        return json.loads(row[0]) if row else None

    def all(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Every document of a kind."""
        for key, body in self._db.execute("SELECT key, body FROM docs WHERE kind=?", (kind,)).fetchall():
            yield key, json.loads(body)

    @contextmanager
    def together(self) -> Iterator[None]:
        """All writes inside happen, or none of them; may be nested."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._db.close()
