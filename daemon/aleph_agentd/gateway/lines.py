"""Bytes of a stream into lines, where no line can grow without end."""

from collections.abc import Iterator

MAX_LINE = 1024 * 1024


class LineSplitter:
    """Gives whole lines without their end; None stands for one line that was too long."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Take bytes; the lines that they complete."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._add(end)
            yield None if self._size > self._limit else b"".join(self._parts).strip()
            self._parts, self._size = [], 0
        self._add(rest)

    def _add(self, part: bytes) -> None:
        """Keep a part of a line, or only its size once the line is too long."""
        self._size += len(part)
        if self._size > self._limit:
            self._parts = []
        elif part:
            self._parts.append(part)
