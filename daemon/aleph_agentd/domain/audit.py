"""The audit log as a chain: each entry's hash covers the one before it, so that nobody changes the past unseen.

The hash of an entry is the SHA-256 of the previous entry's hash, a line break, and the JSON array
`[n, at, kind, actor, session, request_key, item_hash, text]` without spaces, in ASCII. A chain cannot see
that its tail was cut: what was the head once is kept outside, as an anchor (rules.md 23).
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from .acting import Act

KEPT = 100_000
"""Entries that rotation leaves; the hash of the last one that went is what the chain begins from."""
ROTATED_AT_ONCE = 1000
ANCHOR_EVERY = 100

_LONGEST_WORD, _LONGEST_TEXT = 300, 1000
_ANCHOR = re.compile(r"audit head n=(\d{1,18}) hash=([0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True)
class Deed:
    """Something that was done, before it has a place in the chain."""

    at: datetime
    kind: str
    actor: str
    session: str
    request_key: str
    item_hash: str
    text: str


@dataclass(frozen=True)
class Link:
    """A place in the chain: its number, and the hash of all up to it."""

    n: int
    hash: str


@dataclass(frozen=True)
class Entry:
    """A deed at its place in the chain."""

    n: int
    deed: Deed
    hash: str

    @property
    def link(self) -> Link:
        """Its place."""
        return Link(self.n, self.hash)


GENESIS = Link(0, "0" * 64)
"""What the first entry of all follows."""


@dataclass(frozen=True)
class Verdict:
    """What a check of the whole chain found; `problem` is empty when all is well."""

    problem: str
    base: Link
    head: Link
    anchors: int
    """How many anchors lie within what is kept, and agree."""


def deed(at: datetime, kind: str, text: str, act: Act, item_hash: str = "") -> Deed:
    """What somebody did, in one line each: cut, and without what no terminal and no database should get."""
    return Deed(
        at=at,
        kind=_plain(kind, _LONGEST_WORD),
        actor=_plain(act.actor, _LONGEST_WORD),
        session=_plain(act.session, _LONGEST_WORD),
        request_key=_plain(act.request_key, _LONGEST_WORD),
        item_hash=_plain(item_hash, _LONGEST_WORD),
        text=_plain(text, _LONGEST_TEXT),
    )


def follow(previous: Link, done: Deed) -> Entry:
    """The entry that comes next."""
    n = previous.n + 1
    return Entry(n, done, chain(previous.hash, n, done))


def chain(previous_hash: str, n: int, done: Deed) -> str:
    """The hash of an entry; see above."""
    words = [n, instant(done.at), done.kind, done.actor, done.session]
    words += [done.request_key, done.item_hash, done.text]
    return hashlib.sha256(f"{previous_hash}\n{json.dumps(words, separators=(',', ':'))}".encode()).hexdigest()


def instant(at: datetime) -> str:
    """To the microsecond: what is hashed, and what is exported."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def anchor_line(link: Link) -> str:
    """An anchor as the journal and the file of anchors have it."""
    return f"audit head n={link.n} hash={link.hash}"


def anchors_in(text: str) -> list[Link]:
    """The anchors among lines of any kind."""
    return [Link(int(n), found) for n, found in _ANCHOR.findall(text)]


def not_as_anchored(link: Link) -> str:
    """What an entry means that has another hash than its anchor."""
    return f"entry {link.n} is not the one that was anchored: the log was rewritten, or cut and written on"


def tail_was_cut(head: Link, anchor: Link) -> str:
    """What an anchor means that lies behind the head."""
    return f"the log ends with entry {head.n}, but entry {anchor.n} was anchored: its tail was cut"


class Check:
    """Follows a chain entry by entry, from its base, and compares it with what was anchored."""

    def __init__(self, base: Link, anchors: Iterable[Link]) -> None:
        self._base, self._head, self._agree = base, base, 0
        self._anchored: dict[int, set[str]] = {}
        for anchor in anchors:
            self._anchored.setdefault(anchor.n, set()).add(anchor.hash)
        self._problem = self._disagrees(base)

    @property
    def head(self) -> Link:
        """How far it has followed."""
        return self._head

    def add(self, entries: Iterable[Entry]) -> bool:
        """Follow these; False once there is a problem."""
        for entry in entries:
            if self._problem:
                break
            self._problem = self._misplaced(entry) or self._disagrees(entry.link)
            if not self._problem:
                self._head = entry.link
        return not self._problem

    def verdict(self) -> Verdict:
        """What there is to say, once there are no more entries."""
        return Verdict(self._problem or self._missing(), self._base, self._head, self._agree)

    def _misplaced(self, entry: Entry) -> str:
        n = self._head.n + 1
        if entry.n != n:
            return f"entry {n} is missing: {entry.n} follows {self._head.n}"
        if entry.hash != chain(self._head.hash, n, entry.deed):
            return f"entry {n} was changed, or is not in its place"
        return ""

    def _disagrees(self, link: Link) -> str:
        anchored = self._anchored.get(link.n, set())
        if anchored - {link.hash}:
            return not_as_anchored(link)
        self._agree += len(anchored)
        return ""

    def _missing(self) -> str:
        last = max(self._anchored, default=0)
        if last > self._head.n:
            return tail_was_cut(self._head, Link(last, ""))
        if self._base.n and self._head.n - self._base.n < KEPT:
            return f"the log begins after entry {self._base.n}: rotation would have left more than that"
        return ""


def _plain(text: str, longest: int) -> str:
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in cut)
