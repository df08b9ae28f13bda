"""A VM's console, as its CRN keeps it: a JSON list that may be long, whose end is the newest. Only that is kept."""

import codecs
import json
from collections import deque
from typing import Any

from ...ports import ConsoleLog
from .checked import mapping

MOST_BYTES = 32 * 2**20
"""Of one answer. What comes after it is newer, and is said to be missing."""
KEPT = 64 * 1024
"""Characters of the end that are kept."""
_MOST_ENTRY = 256 * 1024
_BETWEEN = " \t\r\n,["


class ConsoleReader:
    """Fed with an answer piece by piece; it holds one entry and the end of the text."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._json = json.JSONDecoder()
        self._rest, self._lines = "", deque[str]()
        self._kept = self._total = self._bytes = 0

    def feed(self, piece: bytes) -> bool:
        """Take in more; False: that is enough. Raises ValueError for what is no list of entries."""
        self._bytes += len(piece)
        text, at = self._rest + self._decoder.decode(piece), 0
        while (at := _next(text, at)) < len(text) and text[at] != "]":
            try:
                entry, at = self._json.raw_decode(text, at)
            except json.JSONDecodeError:
                break  # the rest of it is still to come
            self._add(mapping(entry))
        self._rest = text[at:]
        if len(self._rest) > _MOST_ENTRY or self._rest[:1] not in ("", "{", "]"):
            raise ValueError("this is no list of entries")
        return self._bytes < MOST_BYTES

    def end(self, *, whole: bool) -> ConsoleLog:
        """What was kept. Raises ValueError when the list should be whole and is not."""
        if whole and not self._rest.startswith("]"):
            raise ValueError("the list has no end")
        return ConsoleLog("".join(self._lines), self._total, whole)

    def _add(self, entry: dict[str, Any]) -> None:
        said = entry.get("MESSAGE")
        line = (said if isinstance(said, str) else "[not text]").rstrip("\n") + "\n"
        self._total += len(line)
        self._lines.append(line[-KEPT:])
        self._kept += len(self._lines[-1])
        while self._kept - len(self._lines[0]) >= KEPT:
            self._kept -= len(self._lines.popleft())


def _next(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BETWEEN:
        at += 1
    return at
