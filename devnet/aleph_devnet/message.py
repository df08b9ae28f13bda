"""One message as the CCN holds it, and the shapes in which its API shows it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from aleph_devnet.clock import iso

PENDING, PROCESSED, REJECTED = "pending", "processed", "rejected"
FORGOTTEN, REMOVING, REMOVED = "forgotten", "removing", "removed"
LIVE = (PROCESSED, REMOVING)

_ENVELOPE = ("sender", "chain", "signature", "type", "item_type", "item_hash", "time", "channel")


@dataclass(slots=True)
class Message:
    """A message and what has become of it. `time` is its author's claim, `received_at` the network's."""

    item_hash: str
    type: str
    sender: str
    chain: str
    signature: str | None
    item_type: str
    item_content: str | None
    time: float
    channel: str | None
    content: dict[str, Any]
    received_at: float
    status: str = PENDING
    next_try_at: float = 0.0
    tries: int = 0
    error_code: int | None = None
    details: Any = None
    forgotten_by: list[str] = field(default_factory=list)
    removing_since: float | None = None

    @property
    def owner(self) -> str:
        """The account that it acts for, and that pays."""
        return str(self.content.get("address", ""))

    @property
    def tags(self) -> list[str]:
        """What `?tags=` matches: of a VM in its metadata, else in the nested content."""
        inner = self.content.get("metadata" if self.type in ("INSTANCE", "PROGRAM") else "content")
        tags = inner.get("tags") if isinstance(inner, dict) else None
        return tags if isinstance(tags, list) else []

    def dump(self) -> dict[str, Any]:
        """As a document for the store."""
        return asdict(self)

    def envelope(self) -> dict[str, Any]:
        """The signed part, without the content."""
        return {name: getattr(self, name) for name in _ENVELOPE}

    def listed(self) -> dict[str, Any]:
        """As listings show it; a forgotten one has lost its content."""
        if self.status in (FORGOTTEN, REMOVED):
            return {**self.envelope(), "owner": self.owner}
        return {
            **self.envelope(),
            "item_content": self.item_content,
            "content": self.content,
            "confirmed": False,
            "confirmations": [],
        }

    def status_info(self) -> dict[str, Any]:
        """The answer of `/messages/{hash}/status`."""
        return {"status": self.status, "item_hash": self.item_hash, "reception_time": iso(self.received_at)}

    def detailed(self) -> dict[str, Any]:
        """The answer of `/messages/{hash}`: every status has a shape of its own."""
        answer = self.status_info()
        if self.status == PENDING:
            pending = {**self.envelope(), "item_content": self.item_content, "content": self.content}
            return {**answer, "messages": [{**pending, "reception_time": iso(self.received_at)}]}
        if self.status == REJECTED:
            shown = {**self.envelope(), "item_content": self.item_content, "origin": "p2p"}
            return {**answer, "message": shown, "error_code": self.error_code, "details": self.details}
        answer["message"] = self.listed()
        if self.status == FORGOTTEN:
            answer["forgotten_by"] = self.forgotten_by
        if self.status in (REMOVING, REMOVED):
            answer["reason"] = "credit_insufficient"
        return answer

    def truth(self) -> dict[str, Any]:
        """As `/devnet/state` shows it."""
        shown = ("item_hash", "type", "status", "sender", "content", "received_at")
        return {**{name: getattr(self, name) for name in shown}, "address": self.owner}
