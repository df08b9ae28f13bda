"""Faults on demand: what a test makes the network do wrong, and the log of every request."""

import asyncio
import itertools
import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

MAX_REQUESTS = 10_000
MAX_STALE = 1_000
GARBAGE = b'{"messages": [{"item_hash": \xff\xfe'
EFFECTS = {"latency_s", "drop", "status", "garbage", "truncate_listing", "stale", "lies"}
_NUMBERS = itertools.count(1)


@dataclass
class Fault:
    """One rule: which requests it meets, what it does to them, and how often still."""

    match: dict[str, str]
    effect: dict[str, Any]
    count: int | None = None
    probability: float = 1.0
    hits: int = 0
    number: int = field(default_factory=lambda: next(_NUMBERS))
    stale: dict[tuple[str, str], tuple[int, bytes, str]] = field(default_factory=dict)

    def fits(self, node: str, method: str, path: str) -> bool:
        """Whether it meets such a request. A path is a prefix or an fnmatch pattern."""
        wanted = self.match.get("path", "*")
        return (
            self.count != 0
            and self.match.get("node", "*") in ("*", node)
            and self.match.get("method", "*").upper() in ("*", method)
            and (path.startswith(wanted) or fnmatchcase(path, wanted))
        )

    def listed(self) -> dict[str, Any]:
        """As `GET /devnet/faults` shows it."""
        names = ("number", "match", "effect", "count", "probability", "hits")
        return {name: getattr(self, name) for name in names}


def parse(raw: Any) -> Fault:
    """A fault from a request's JSON, or ValueError."""
    if not isinstance(raw, dict) or not isinstance(raw.get("effect"), dict):
        raise ValueError("a fault is {match, effect, count?, probability?}")
    effect, match = raw["effect"], raw.get("match") or {}
    unknown = set(effect) - EFFECTS - {"body", "when"} | set(raw) - {
        "match",
        "effect",
        "count",
        "probability",
    }
    unknown |= set(match) - {"node", "method", "path"}
    if unknown or not set(effect) & EFFECTS:
        raise ValueError(f"unknown or no effect; effects are {sorted(EFFECTS)}, unknown: {sorted(unknown)}")
    if effect.get("drop", "before") not in ("before", "after"):
        raise ValueError("drop is 'before' or 'after'")
    probability = raw.get("probability")
    return Fault(match, effect, raw.get("count"), 1.0 if probability is None else float(probability))


class Faults:
    """The active faults, and what was asked of the network."""

    def __init__(self) -> None:
        self.active: list[Fault] = []
        self.requests: deque[dict[str, Any]] = deque(maxlen=MAX_REQUESTS)

    def take(self, node: str, method: str, path: str) -> list[Fault]:
        """The faults that strike this request; each is counted."""
        struck = [fault for fault in self.active if fault.fits(node, method, path)]
        struck = [fault for fault in struck if random.random() < fault.probability]
        for fault in struck:
            fault.hits += 1
            if fault.count is not None:
                fault.count -= 1
        return struck

    def cuts_off(self, node: str, path: str) -> bool:
        """Whether every request for this path is dropped or refused now (asked by CRNs, not counted)."""
        return any(
            fault.fits(node, "GET", path)
            and ({"drop", "status"} & set(fault.effect))
            and fault.probability == 1
            for fault in self.active
        )

    def middleware(self, node_of: Callable[[web.Request], str], now: Callable[[], float]) -> Any:
        """The aiohttp middleware of one node."""

        @web.middleware
        async def strike(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/devnet/"):
                return await handler(request)
            node = node_of(request)
            entry = {"time": now(), "node": node, "method": request.method, "path": request.path_qs}
            response = await _struck(request, handler, node, self.take(node, request.method, request.path))
            dropped = request.transport is None or request.transport.is_closing()
            self.requests.append({**entry, "status": 0 if dropped else response.status})
            return response

        return strike


async def _struck(
    request: web.Request, handler: Handler, node: str, faults: list[Fault]
) -> web.StreamResponse:
    # Read first: a connection that is closed with unread bytes is reset, and real nodes just hang up.
    await request.read()
    for fault in faults:
        if fault.effect.get("when") != "after":
            await asyncio.sleep(fault.effect.get("latency_s", 0))
        if fault.effect.get("drop") == "before":
            return _hang_up(request)
        if "status" in fault.effect and fault.effect.get("when", "before") == "before":
            return _status(fault)
        if (kept := fault.stale.get((node, request.path_qs))) is not None:
            return web.Response(status=kept[0], body=kept[1], content_type=kept[2])
    try:
        response = await handler(request)
    except web.HTTPException as error:
        if not faults:
            raise
        response = web.Response(status=error.status, text=error.text)
    for fault in faults:
        if fault.effect.get("when") == "after":
            await asyncio.sleep(fault.effect.get("latency_s", 0))
        response = _after(request, response, node, fault)
    return response


def _after(request: web.Request, response: web.StreamResponse, node: str, fault: Fault) -> web.StreamResponse:
    effect = fault.effect
    if effect.get("drop") == "after":
        return _hang_up(request)
    if effect.get("when") == "after" and "status" in effect:
        return _status(fault)
    if effect.get("garbage"):
        return web.Response(body=GARBAGE, content_type="application/json")
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return response
    if "truncate_listing" in effect:
        body = truncated(response.body, int(effect["truncate_listing"]))
        return web.Response(status=response.status, body=body, content_type=response.content_type)
    if "lies" in effect:
        body = json.dumps(lying(json.loads(response.body), effect["lies"])).encode()
        return web.Response(status=response.status, body=body, content_type=response.content_type)
    if effect.get("stale") and len(fault.stale) < MAX_STALE:
        kept = (response.status, response.body, response.content_type)
        fault.stale.setdefault((node, request.path_qs), kept)
    return response


def truncated(body: bytes, keep: int) -> bytes:
    """A listing cut to its first entries, with its totals left as they were."""
    listing = json.loads(body)
    for name in ("messages", "crns", "credit_history", "resources"):
        if name in listing:
            return json.dumps({**listing, name: listing[name][:keep]}).encode()
    return json.dumps(dict(list(listing.items())[:keep])).encode()


def lying(document: Any, lies: dict[str, Any]) -> Any:
    """The same document; whatever has one of these names in it, at any depth, has the lie for its value."""
    if isinstance(document, list):
        return [lying(one, lies) for one in document]
    if not isinstance(document, dict):
        return document
    return {name: lies[name] if name in lies else lying(value, lies) for name, value in document.items()}


def _status(fault: Fault) -> web.Response:
    body = fault.effect.get("body", "")
    return web.Response(
        status=int(fault.effect["status"]), text=body if isinstance(body, str) else json.dumps(body)
    )


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response()
