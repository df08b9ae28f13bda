"""Our AGGREGATE of lease extensions: what is signed into it, and what is read from it (rules.md 9)."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from ...domain.model import PublishedEnd
from .ccn import Ccn
from .checked import instant, making_sense, mapping

KEY = "aleph-agentd-leases"
_ENTRY = re.compile(r"([0-9a-f]{64}):([1-9][0-9]{0,8})")


def entry(item_hash: str, end: PublishedEnd) -> dict[str, str]:
    """The one immutable entry of an extension."""
    name = f"{item_hash}:{end.n}"
    if not _ENTRY.fullmatch(name):
        raise ValueError(f"not an extension: {name}")
    return {name: end.expires_at.astimezone(UTC).isoformat()}


def extension_content(item_hash: str, end: PublishedEnd, address: str, at: datetime) -> dict[str, Any]:
    """The content of an AGGREGATE that publishes one extension, and nothing else."""
    return {"key": KEY, "address": address, "time": at.timestamp(), "content": entry(item_hash, end)}


async def published_ends(ccn: Ccn, owner: str) -> dict[str, PublishedEnd]:
    """By hash, the extension with the highest number. An aggregate that is not there holds none."""

    async def question(host: str) -> dict[str, PublishedEnd]:
        path = f"/api/v0/aggregates/{quote(owner, safe='')}.json"
        answer = await ccn.get(host, path, {"keys": KEY}, expect=(200, 404))
        if answer.status == 404:
            return {}
        with making_sense(answer.endpoint):
            return _newest(mapping(mapping(mapping(answer.json())["data"]).get(KEY, {})))

    return await ccn.ask(question)


def _newest(entries: dict[str, Any]) -> dict[str, PublishedEnd]:
    ends: dict[str, PublishedEnd] = {}
    for name, value in entries.items():
        match = _ENTRY.fullmatch(name)
        # Signed by our key, so anything else in it is unknown, not nothing.
        if match is None:
            raise ValueError("an entry that is no extension")
        end = PublishedEnd(int(match[2]), instant(value))
        if match[1] not in ends or end.n > ends[match[1]].n:
            ends[match[1]] = end
    return ends
