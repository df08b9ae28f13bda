"""A disk so small that a test can fill it."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE = 2 * 2**20


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A file system of two megabytes; skips where we may not mount one."""
    path.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={SIZE},mode=700".encode()
    if libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, options):
        pytest.skip(f"no tmpfs can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield path
    finally:
        libc.umount2(os.fsencode(path), 2)


def fill(path: Path) -> Path:
    """Use up the last byte."""
    file = path / "ballast"
    with file.open("wb", buffering=0) as ballast:
        try:
            while ballast.write(b"\0" * 4096) == 4096:
                pass
        except OSError:
            return file
    return file
