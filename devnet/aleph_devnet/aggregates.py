"""Aggregates: per address and key, an object merged per top-level key, the last writer by content time."""

from collections import defaultdict
from typing import Any

from aleph_devnet.message import Message


class Aggregates:
    """Kept in memory, and rebuilt from the processed AGGREGATE messages at a start."""

    def __init__(self) -> None:
        self._elements: dict[tuple[str, str], dict[str, Message]] = defaultdict(dict)
        self._merged: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)

    def apply(self, message: Message) -> None:
        """Take a processed AGGREGATE in; one that is older than what is there changes nothing."""
        owner, key = message.owner, _key(message)
        elements = self._elements[owner, key]
        newest = all(element.content["time"] <= message.content["time"] for element in elements.values())
        elements[message.item_hash] = message
        if newest:
            self._merged[owner].setdefault(key, {}).update(message.content["content"])
        else:
            self._rebuild(owner, key)

    def drop(self, message: Message) -> None:
        """Undo a forgotten AGGREGATE."""
        owner, key = message.owner, _key(message)
        self._elements[owner, key].pop(message.item_hash, None)
        self._rebuild(owner, key)

    def of(self, owner: str, keys: list[str] | None = None) -> dict[str, dict[str, Any]]:
        """The aggregates of an address, all or those asked for."""
        merged = self._merged.get(owner, {})
        return {key: value for key, value in merged.items() if keys is None or key in keys}

    def get(self, owner: str, key: str) -> dict[str, Any]:
        """One aggregate; empty when there is none."""
        return self._merged.get(owner, {}).get(key, {})

    def authorizations(self, owner: str) -> list[Any]:
        """Whom the owner lets act for it."""
        entries = self.get(owner, "security").get("authorizations")
        return entries if isinstance(entries, list) else []

    def granted_to(self, address: str) -> dict[str, list[dict[str, Any]]]:
        """Every owner that has authorized this address, with the terms."""
        found: dict[str, list[dict[str, Any]]] = {}
        for owner in self._merged:
            for entry in self.authorizations(owner):
                if isinstance(entry, dict) and entry.get("address") == address:
                    found.setdefault(owner, []).append({k: v for k, v in entry.items() if k != "address"})
        return found

    def _rebuild(self, owner: str, key: str) -> None:
        merged: dict[str, Any] = {}
        for element in sorted(self._elements[owner, key].values(), key=lambda m: float(m.content["time"])):
            merged.update(element.content["content"])
        if merged:
            self._merged[owner][key] = merged
        else:
            self._merged[owner].pop(key, None)


def _key(message: Message) -> str:
    key = message.content["key"]
    return str(key["name"] if isinstance(key, dict) else key)
