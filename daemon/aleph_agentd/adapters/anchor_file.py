"""Old heads of the audit log, in a file beside the inventory: lines as in the journal, only ever added."""

import asyncio
import os
from datetime import datetime
from pathlib import Path

from .. import private_files
from ..domain.audit import Link, anchor_line, anchors_in
from ..domain.clock import iso

KEPT = 1500
"""More than the log itself keeps, at one per hundred entries and one per stop."""
_LONGEST_LINE = 128


class AnchorFile:
    """The `Anchors` port. Once it has twice as many lines as are kept, the older half goes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: int | None = None

    async def add(self, link: Link, at: datetime) -> None:
        """Keep it, on disk."""
        await asyncio.to_thread(self._add, f"{iso(at)} {anchor_line(link)}\n".encode())

    async def all(self) -> list[Link]:
        """Those that are kept; none in a file that is not there."""
        return await asyncio.to_thread(lambda: anchors_in(b"".join(self._read()).decode(errors="replace")))

    def _add(self, line: bytes) -> None:
        if self._lines is None:
            there = self._read()
            self._lines = len(there)
            if there and not there[-1].endswith(b"\n"):
                line = b"\n" + line  # a power cut has left half a line
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
        self._lines += 1
        if self._lines >= 2 * KEPT:
            left = self._read()[-KEPT:]
            private_files.write(self._path, left)
            self._lines = len(left)

    def _read(self) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - 3 * KEPT * _LONGEST_LINE))
                return file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return []
