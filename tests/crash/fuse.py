"""What a test and a daemon that is to die share: which point it dies at, and which points it has passed.

A mapped file: it says what happened also after SIGKILL, and it can be written while the disk is full.
"""

import mmap
import struct
from pathlib import Path

_HEAD = struct.Struct("<ii")
_NOTE = 4096
NOBODY = -1


class Fuse:
    """`armed` and `blown` are numbers of points; -1: none."""

    def __init__(self, path: Path, points: int) -> None:
        self.path, self._points = path, points
        fresh = not path.exists()
        with path.open("w+b" if fresh else "r+b") as file:
            if fresh:
                file.truncate(_HEAD.size + points + _NOTE)
            self._map = mmap.mmap(file.fileno(), 0)
        if fresh:
            self.arm(NOBODY)

    def arm(self, point: int) -> None:
        """Die at this point, once; forget what was passed."""
        self._map[_HEAD.size : _HEAD.size + self._points] = bytes(self._points)
        self._write(point, NOBODY)

    def disarm(self) -> None:
        """Live, and keep what was passed."""
        self._write(NOBODY, self.blown)

    @property
    def armed(self) -> int:
        """The point at which a daemon dies."""
        return int(_HEAD.unpack_from(self._map)[0])

    @property
    def blown(self) -> int:
        """The point at which one died since it was armed."""
        return int(_HEAD.unpack_from(self._map)[1])

    def passes(self, point: int) -> bool:
        """A daemon passes a point. True: it has to die here, the only one that does."""
        self._map[_HEAD.size + point] = 1
        if self.armed != point:
            return False
        self._write(NOBODY, point)
        return True

    def passed(self) -> frozenset[int]:
        """The points that were passed since it was armed."""
        marks = self._map[_HEAD.size : _HEAD.size + self._points]
        return frozenset(number for number, mark in enumerate(marks) if mark)

    def complain(self, text: str) -> None:
        """A daemon has come to a call that was not derived."""
        note = text.encode()[: _NOTE - 1]
        self._map[-_NOTE : len(self._map) - _NOTE + len(note)] = note

    @property
    def complaint(self) -> str:
        """Such a call; empty when there was none."""
        return self._map[-_NOTE:].split(b"\0", 1)[0].decode()

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()

    def _write(self, armed: int, blown: int) -> None:
        _HEAD.pack_into(self._map, 0, armed, blown)
