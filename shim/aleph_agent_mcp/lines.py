"""Newline-delimited JSON, bounded: complete lines out of arbitrary chunks, and what a line says."""

# `json` would be the public door to the same C parser, but it imports `re`: 11 ms of every agent's start.
from _json import make_scanner, scanstring

TYPE_CHECKING = False  # `typing` and `collections.abc` cost milliseconds too
if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_LINE = 1024 * 1024 - 1024  # the daemon's frame limit, less what a frame adds
LOOK = 64 * 1024
SPACES = " \t\r\n"


class _Rules:
    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 — the scanner's own contract


_scan = make_scanner(_Rules())  # type: ignore[arg-type]


# Python 3.11's parser cannot find its own JSONDecodeError (a ValueError) while `json` is not imported, and says so.
NOT_JSON = (StopIteration, ValueError, RecursionError, SystemError)


class TooLong:
    """Stands for a line that was dropped because of its length; `id` is its JSON-RPC id, if it could be found."""

    def __init__(self, id_: object) -> None:
        self.id = id_


def parse(line: bytes) -> object:
    """The JSON value of a line, or None if it is not JSON (the daemon will say so better than we could)."""
    return _value(line.decode("utf-8", "replace"))


class Lines:
    """Cuts a stream into lines; a longer one than `limit` is swallowed as it streams in."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._held = bytearray()
        self._head: bytes | None = None  # the start of a line that is being dropped

    def feed(self, chunk: bytes) -> "Iterator[bytes | TooLong]":
        """Take a chunk (b"" at the end of the stream) and give the lines that it completes."""
        *complete, rest = (chunk or b"\n").split(b"\n")
        for piece in complete:
            line = self._end(piece)
            if isinstance(line, TooLong) or line.strip():
                yield line
        self._add(rest)

    def _end(self, piece: bytes) -> "bytes | TooLong":
        self._add(piece)
        line, head = bytes(self._held), self._head
        self._held.clear()
        self._head = None
        return line if head is None else TooLong(find_id(head, line))

    def _add(self, piece: bytes) -> None:
        self._held += piece
        if self._head is None and len(self._held) > self._limit:
            self._head = bytes(self._held[:LOOK])
        if self._head is not None and len(self._held) > LOOK:
            del self._held[:-LOOK]


def find_id(head: bytes, tail: bytes) -> object:
    """The JSON-RPC id of a line of which only both ends are known; None if neither shows it."""
    found = _id_from_start(head.decode("utf-8", "replace"))
    return found if found is not None else _id_at_end(tail.decode("utf-8", "replace"))


def _id_from_start(text: str) -> object:
    depth = at = 0
    while at < len(text):
        if text[at] != '"':
            depth += (text[at] in "{[") - (text[at] in "}]")
            at += 1
            continue
        try:
            key, at = scanstring(text, at + 1, False)
        except NOT_JSON:
            return None
        after = text[at : at + 1024].lstrip(SPACES)
        if depth == 1 and key == "id" and after.startswith(":"):
            return _id_value(after[1:], whole=False)
    return None


def _id_at_end(text: str) -> object:
    # Some clients write the id last; the key before the last brace can only be of the outermost object.
    before, key, after = text.rpartition('"id"')
    after = after.strip(SPACES)
    if key and before.rstrip(SPACES).endswith(",") and after[:1] == ":" and after[-1:] == "}":
        return _id_value(after[1:-1])
    return None


def _id_value(text: str, *, whole: bool = True) -> object:
    value = _value(text, whole=whole)
    return value if isinstance(value, str | int) and len(str(value)) <= 256 else None


def _value(text: str, *, whole: bool = True) -> object:
    text = text.strip(SPACES)
    try:
        value, end = _scan(text, 0)
    except NOT_JSON:
        return None
    return value if end == len(text) or not whole else None
