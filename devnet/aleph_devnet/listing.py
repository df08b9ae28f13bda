"""`messages.json`: filters, pages and the cursor, over indexes that stay sorted."""

import base64
import json
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aleph_devnet.message import FORGOTTEN, LIVE, PENDING, REJECTED, Message

_HIDDEN = (PENDING, REJECTED)
"""Kept outside the messages table of a CCN: no listing shows them."""

_FILTERS = ("msgTypes", "msgType", "hashes", "channels", "chains", "contentKeys")

Key = tuple[float, str]


class BadQueryError(ValueError):
    """A query that a CCN refuses; `status` is its answer."""

    def __init__(self, text: str, status: int = 422) -> None:
        super().__init__(text)
        self.status = status


class Index:
    """Message keys by sender and by owner, in order of (time, hash)."""

    def __init__(self) -> None:
        self._all: list[Key] = []
        self._by_sender: dict[str, list[Key]] = defaultdict(list)
        self._by_owner: dict[str, list[Key]] = defaultdict(list)
        self._by_hash: dict[str, Key] = {}

    def add(self, message: Message) -> None:
        """Take a message in."""
        key = (message.time, message.item_hash)
        for keys in (self._all, self._by_sender[message.sender], self._by_owner[message.owner]):
            insort(keys, key)
        self._by_hash[message.item_hash] = key

    def narrowest(self, query: "Query") -> list[Key]:
        """The keys that can match, in order."""
        if query.hashes is not None:
            return sorted(self._by_hash[item_hash] for item_hash in query.hashes & self._by_hash.keys())
        for wanted, index in ((query.senders, self._by_sender), (query.owners, self._by_owner)):
            if wanted:
                found = [index[address] for address in dict.fromkeys(wanted) if address in index]
                return found[0] if len(found) == 1 else sorted(key for keys in found for key in keys)
        return self._all


class Query:
    """One parsed query string."""

    def __init__(self, params: Mapping[str, str]) -> None:
        self._params = params
        statuses = self._list("msgStatuses") or self._list("message_statuses") or list(LIVE)
        if FORGOTTEN in statuses and set(statuses) != {FORGOTTEN}:
            raise BadQueryError("The 'forgotten' status cannot be combined with other statuses", 400)
        self._statuses = statuses
        self.senders, self.owners = self._list("addresses"), self._list("owners")
        self._tags = set(self._list("tags") or [])
        self._wanted = {name: self._set(name) for name in _FILTERS}
        self.hashes = self._wanted["hashes"]
        self._start, self._end = self._number("startDate"), self._number("endDate")
        self.descending = params.get("sortOrder", "-1") != "1"
        self.page, self.per_page = self._whole("page", 1, 1), self._whole("pagination", 20, 0)
        self.cursor = params.get("cursor")
        self.with_content = params.get("excludeContent", "false").lower() not in ("true", "1")

    def _list(self, name: str) -> list[str] | None:
        return self._params[name].split(",") if self._params.get(name) else None

    def _set(self, name: str) -> frozenset[str] | None:
        wanted = self._list(name)
        return None if wanted is None else frozenset(wanted)

    def _number(self, name: str) -> float:
        try:
            return float(self._params.get(name) or 0)
        except ValueError as error:
            raise BadQueryError(f"{name} is not a number") from error

    def _whole(self, name: str, default: int, least: int) -> int:
        try:
            value = int(self._params.get(name) or default)
        except ValueError as error:
            raise BadQueryError(f"{name} is not a number") from error
        if value < least:
            raise BadQueryError(f"{name} must be at least {least}")
        return value

    def _in(self, name: str, value: str | None) -> bool:
        wanted = self._wanted[name]
        return wanted is None or value in wanted

    def matches(self, message: Message) -> bool:
        """Whether a message passes every filter."""
        return (
            message.status in self._statuses
            and message.status not in _HIDDEN
            and (not self.senders or message.sender in self.senders)
            and (not self.owners or message.owner in self.owners)
            and self._in("msgTypes", message.type)
            and self._in("msgType", message.type)
            and self._in("hashes", message.item_hash)
            and self._in("channels", message.channel)
            and self._in("chains", message.chain)
            and self._in("contentKeys", str(message.content.get("key")))
            and (not self._tags or bool(self._tags & set(message.tags)))
            and (not self._start or message.time >= self._start)
            and (not self._end or message.time < self._end)
        )

    def show(self, message: Message) -> dict[str, Any]:
        """A message as this query wants it."""
        shown = message.listed()
        if not self.with_content:
            shown.pop("content", None)
        return shown


def answer(query: Query, index: Index, look_up: Callable[[str], Message]) -> dict[str, Any]:
    """The whole answer of `messages.json`."""
    keys = index.narrowest(query)
    if query.cursor is not None:
        return _cursor_page(query, keys, look_up)
    ordered: Iterable[Key] = reversed(keys) if query.descending else keys
    found = [message for _, item_hash in ordered if query.matches(message := look_up(item_hash))]
    skip = (query.page - 1) * query.per_page
    page = found[skip : skip + query.per_page] if query.per_page else found
    return {
        "messages": [query.show(message) for message in page],
        "pagination_per_page": query.per_page,
        "pagination_page": query.page,
        "pagination_total": len(found),
        "pagination_item": "messages",
    }


def _cursor_page(query: Query, keys: list[Key], look_up: Callable[[str], Message]) -> dict[str, Any]:
    limit = query.per_page or len(keys)
    found: list[Message] = []
    for _, item_hash in _after(query, keys):
        if query.matches(message := look_up(item_hash)):
            found.append(message)
        if len(found) > limit:
            break
    page = found[:limit]
    return {
        "messages": [query.show(message) for message in page],
        "pagination_per_page": query.per_page,
        "has_more": len(found) > limit,
        "next_cursor": _encode(page[-1]) if len(found) > limit else None,
    }


def _after(query: Query, keys: list[Key]) -> Iterable[Key]:
    if not query.cursor:
        return reversed(keys) if query.descending else keys
    last = _decode(query.cursor)
    if query.descending:
        return (keys[n] for n in range(bisect_left(keys, last) - 1, -1, -1))
    return (keys[n] for n in range(bisect_right(keys, last), len(keys)))


def _encode(message: Message) -> str:
    return base64.urlsafe_b64encode(json.dumps([message.time, message.item_hash]).encode()).decode()


def _decode(cursor: str) -> Key:
    try:
        time, item_hash = json.loads(base64.urlsafe_b64decode(cursor))
        return float(time), str(item_hash)
    except (ValueError, TypeError) as error:
        raise BadQueryError("Invalid cursor") from error
