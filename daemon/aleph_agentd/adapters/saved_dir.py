"""The `SavedFiles` port over a directory of the daemon's own, which is made when it is needed."""

import asyncio
import io
import json
import re
import tarfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from .. import private_files
from ..domain.guest_saves import Taken

SUFFIX, _HALF = ".tar", ".new"
_HASH = re.compile(r"[0-9a-f]{64}")
_ENDS = {"file": "", "directory": ".tar"}
_ABOUT = (
    "What aleph-agentd took out of a VM before its lease ended; contents.json says what lay where.\n"
    "It comes from that VM: trust it as little, above all a .tar, which the VM made of a directory.\n"
)


class SavedDir:
    """`HASH.tar`, which only the owner may read; in it files named by their numbers."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def write(self, item_hash: str, taken: dict[str, Taken]) -> int:
        """Put an archive there."""
        return await asyncio.to_thread(self._write, item_hash, taken)

    def _write(self, item_hash: str, taken: dict[str, Taken]) -> int:
        content = archive(taken)
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        private_files.write(self._file(item_hash), [content])
        return len(content)

    async def used(self, besides: str = "") -> int:
        """What is there."""
        return await asyncio.to_thread(self._used, besides)

    def _used(self, besides: str) -> int:
        return sum(file.stat().st_size for file in self._files(SUFFIX) if file.name != besides + SUFFIX)

    async def drop(self, before: datetime, *, halves: bool) -> int:
        """Remove what is older. `halves`: nobody writes now, so that what is half written is an earlier life's."""
        return await asyncio.to_thread(self._drop, before.timestamp(), halves)

    def _drop(self, before: float, halves: bool) -> int:
        old = [file for file in self._files(SUFFIX) if file.stat().st_mtime < before]
        for file in (*old, *(self._files(_HALF) if halves else ())):
            file.unlink(missing_ok=True)
        return len(old)

    async def place(self, item_hash: str) -> str:
        """Where it lies."""
        file = self._file(item_hash)
        return str(file) if await asyncio.to_thread(file.is_file) else ""

    def _file(self, item_hash: str) -> Path:
        if not _HASH.fullmatch(item_hash):
            raise ValueError(f"{item_hash[:80]!r} is no hash")
        return self._path / f"{item_hash}{SUFFIX}"

    def _files(self, suffix: str) -> Iterator[Path]:
        return (file for file in self._path.glob(f"*{suffix}") if file.is_file())


def archive(taken: dict[str, Taken]) -> bytes:
    """A tar whose every name is ours; the paths are words in one of its files."""
    named = {f"{n}{_ENDS[one.kind]}": (path, one) for n, (path, one) in enumerate(taken.items(), 1)}
    contents = {name: {"path": path, "kind": one.kind} for name, (path, one) in named.items()}
    files = {"README.txt": _ABOUT.encode(), "contents.json": json.dumps(contents, indent=1).encode()}
    files |= {name: one.content for name, (_, one) in named.items()}
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return whole.getvalue()
