"""The counter of an inventory's starts: a file beside it that a deleted or rolled-back one cannot take along."""

import asyncio
import json
from pathlib import Path

from .. import private_files


class StartFile:
    """The `StartCounter` port. One file per inventory, not named like the database's own files."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"starts-{database.stem}.json")

    async def read(self) -> int | None:
        """The count. Raises OSError, or ValueError for a damaged file."""
        return await asyncio.to_thread(self._read)

    async def write(self, count: int) -> None:
        """Keep a count. Raises OSError."""
        text = json.dumps({"starts": count})
        await asyncio.to_thread(private_files.write, self._path, [text.encode()])

    def _read(self) -> int | None:
        try:
            said = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        count = said.get("starts") if isinstance(said, dict) else None
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"{self._path} holds no count")
        return count
