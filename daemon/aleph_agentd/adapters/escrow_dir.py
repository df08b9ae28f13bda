"""Directories of kill switches: our own, that is written; and anybody's, that is read with suspicion."""

import asyncio
import os
import stat
from pathlib import Path

from .. import private_files
from ..domain.escrow import MAX_BYTES, SUFFIX, NotOurs

MOST_FILES = 20_000


class EscrowDir:
    """The `EscrowFiles` port over a directory, which is made when it is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def write(self, name: str, text: str) -> None:
        """Put a file there."""
        await asyncio.to_thread(self._write, name, text)

    def _write(self, name: str, text: str) -> None:
        self._path.mkdir(mode=0o700, exist_ok=True)
        private_files.write(self._path / name, [text.encode()])

    async def remove(self, name: str) -> None:
        """Take a file away."""
        await asyncio.to_thread((self._path / name).unlink, missing_ok=True)

    async def names(self) -> list[str]:
        """What is there; nothing in a directory that is not."""
        return await asyncio.to_thread(self._names)

    def _names(self) -> list[str]:
        return names(self._path) if self._path.exists() else []


def names(directory: Path) -> list[str]:
    """The names of kill switches in a directory, sorted. Raises OSError."""
    with os.scandir(directory) as entries:
        found = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
    return sorted(found)[:MOST_FILES]


def read(path: Path) -> str:
    """A small regular file: no link to somewhere else, no pipe that never ends, no device. Raises NotOurs."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotOurs("not a regular file")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotOurs(f"cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise NotOurs(f"larger than {MAX_BYTES} bytes")
    try:
        return content.decode()
    except ValueError:
        raise NotOurs("not text") from None
