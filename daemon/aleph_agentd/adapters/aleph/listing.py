"""The complete listing of our INSTANCEs: all of it, or trouble.

A CCN states a total with every page, counted from a cache while the page is full and exactly on the last
one. So we go on until a page is short, and then we must hold as many as any page has stated.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ...domain.model import NetworkInstance
from ...ports import NetworkTrouble
from .ccn import Ccn
from .checked import (
    clean,
    instant,
    is_item_hash,
    listing,
    making_sense,
    mapping,
    number,
    sha256,
    text,
    whole,
)
from .stamps import read_stamp

PAGE = 100
MAX_MESSAGES = 100_000
_PATH = "/api/v0/messages.json"
_LATEST = 2**36
_MOST = 2**31 - 1


class Shifted(NetworkTrouble):
    """VMs came or went while the pages were read."""


Found = dict[str, NetworkInstance | None]
"""By hash; None: another sender's, which only counts."""


async def list_instances(
    ccn: Ccn, host: str, sender: str, statuses: str = "processed,removing"
) -> list[NetworkInstance]:
    """Every INSTANCE of a sender in one of these statuses, as one host lists them."""
    try:
        found = await _by_pages(ccn, host, sender, statuses)
    except Shifted as shifted:
        try:
            found = await _by_cursor(ccn, host, sender, statuses)
        except NetworkTrouble as trouble:
            raise shifted from trouble
    return [instance for instance in found.values() if instance is not None]


async def _by_pages(ccn: Ccn, host: str, sender: str, statuses: str) -> Found:
    """Few requests, and exact; but whatever ends meanwhile moves the rest to earlier pages."""
    found: Found = {}
    stated = 0
    for page in range(1, MAX_MESSAGES // PAGE + 2):
        entries, total = await _page(ccn, host, sender, statuses, page)
        stated = max(stated, total)
        _add(f"GET {host}{_PATH}", found, entries, sender)
        if len(entries) < PAGE:
            if len(found) != stated or total != stated:
                raise Shifted(f"GET {host}{_PATH}", f"listed {len(found)} of {stated} instances")
            return found
    raise NetworkTrouble(f"GET {host}{_PATH}", f"lists more than {MAX_MESSAGES} instances")


async def _by_cursor(ccn: Ccn, host: str, sender: str, statuses: str) -> Found:
    """What ends meanwhile moves nothing, and may still be in it; what is new is not."""
    found: Found = {}
    _, before = await _page(ccn, host, sender, statuses, 1)
    cursor = ""
    for _ in range(MAX_MESSAGES // PAGE + 2):
        entries, following = await _behind(ccn, host, sender, statuses, cursor)
        _add(f"GET {host}{_PATH}", found, entries, sender)
        if following is None:
            break
        cursor = following
    _, after = await _page(ccn, host, sender, statuses, 1)
    # Of those that were there before, at least as many are found as are still there.
    if following is not None or len(found) < min(before, after):
        raise NetworkTrouble(f"GET {host}{_PATH}", f"listed {len(found)} of {min(before, after)} instances")
    return found


async def list_among(ccn: Ccn, host: str, item_hashes: Sequence[str], statuses: str) -> frozenset[str]:
    """The hashes of those INSTANCEs, one page at most, that a host lists with these statuses."""
    if len(item_hashes) > PAGE:
        raise ValueError(f"at most {PAGE} hashes fit into one question")
    params = {
        "hashes": ",".join(item_hashes),
        "msgTypes": "INSTANCE",
        "msgStatuses": statuses,
        "pagination": str(PAGE),
        "page": "1",
    }
    answer = await ccn.get(host, _PATH, params)
    with making_sense(answer.endpoint):
        listed = [mapping(entry)["item_hash"] for entry in listing(mapping(answer.json())["messages"])]
        return frozenset(item_hashes) & frozenset(map(sha256, listed))


async def _page(ccn: Ccn, host: str, sender: str, statuses: str, page: int) -> tuple[list[Any], int]:
    answer = await ccn.get(host, _PATH, _params(sender, statuses) | {"page": str(page)})
    with making_sense(answer.endpoint):
        said = mapping(answer.json())
        return _entries(said), whole(said["pagination_total"])


async def _behind(
    ccn: Ccn, host: str, sender: str, statuses: str, cursor: str
) -> tuple[list[Any], str | None]:
    """The entries behind a cursor, and the next cursor; None: these were the last ones."""
    answer = await ccn.get(host, _PATH, _params(sender, statuses) | {"cursor": cursor})
    with making_sense(answer.endpoint):
        said = mapping(answer.json())
        following = said.get("next_cursor")
        return _entries(said), None if following is None else text(following)


def _params(sender: str, statuses: str) -> dict[str, str]:
    return {
        "addresses": sender,
        "msgTypes": "INSTANCE",
        "msgStatuses": statuses,
        "pagination": str(PAGE),
    }


def _entries(said: dict[str, Any]) -> list[Any]:
    entries = listing(said["messages"])
    if len(entries) > PAGE:
        raise ValueError("a page longer than asked for")
    return entries


def _add(endpoint: str, found: Found, entries: list[Any], sender: str) -> None:
    with making_sense(endpoint):
        for entry in entries:
            message = mapping(entry)
            item_hash = sha256(message["item_hash"])
            if item_hash in found:
                raise Shifted(endpoint, "the listing shifted between two pages")
            # A stamp is believed only under our own address (rules.md 8); others only count for completeness.
            found[item_hash] = _instance(item_hash, message) if message.get("sender") == sender else None


def _instance(item_hash: str, message: dict[str, Any]) -> NetworkInstance:
    content = mapping(message["content"])
    metadata = content.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return NetworkInstance(
        item_hash=item_hash,
        sender=_shared(message["sender"]),
        payer=_shared(content["address"]),
        received_at=instant(message["reception_time"]) if message.get("reception_time") else None,
        stamp=read_stamp(metadata),
        crn_hash=_crn_hash(content.get("requirements")),
        name=clean(name) if isinstance(name, str) else "",
        signed_at=_signed_at(content.get("time")),
        **_size(content),
    )


def _shared(value: Any) -> str:
    """A text that most instances have in common: it is kept once, not ten thousand times."""
    return sys.intern(text(value))


def _signed_at(value: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(number(value, at_most=_LATEST)), UTC)
    except ValueError:
        return None


def _size(content: dict[str, Any]) -> dict[str, Any]:
    """What a row needs to know of its size; what is missing or unsound counts as nothing."""
    resources, rootfs = content.get("resources"), content.get("rootfs")
    parent = rootfs.get("parent") if isinstance(rootfs, dict) else None
    ref = parent.get("ref") if isinstance(parent, dict) else None
    return {
        "vcpus": _count(resources, "vcpus"),
        "memory_mib": _count(resources, "memory"),
        "disk_mib": _count(rootfs, "size_mib"),
        "rootfs": _shared(ref) if isinstance(ref, str) and is_item_hash(ref) else "",
        "gpus": _gpus(content.get("requirements")),
    }


def _count(part: Any, key: str) -> int:
    try:
        return whole(part.get(key), at_most=_MOST) if isinstance(part, dict) else 0
    except ValueError:
        return 0


def _gpus(requirements: Any) -> int:
    asked = requirements.get("gpu") if isinstance(requirements, dict) else None
    return len(asked) if isinstance(asked, list) else 0


def _crn_hash(requirements: Any) -> str:
    node = requirements.get("node") if isinstance(requirements, dict) else None
    found = node.get("node_hash") if isinstance(node, dict) else None
    return _shared(found) if isinstance(found, str) and len(found) <= 64 else ""
