"""FORGET: the one message that ends billing."""

from typing import Any, Protocol

from aleph_devnet.aggregates import Aggregates
from aleph_devnet.message import FORGOTTEN, LIVE, Message
from aleph_devnet.validation import (
    CANNOT_FORGET_FORGET,
    FORGET_TARGET_NOT_FOUND,
    NO_FORGET_TARGET,
    PERMISSION_DENIED,
    RejectError,
    RetryError,
    may_act,
)


class Books(Protocol):
    """What forgetting needs from the chain."""

    aggregates: Aggregates

    def get(self, item_hash: str) -> Message | None:
        """A message by hash."""

    def settle(self, message: Message, status: str, **changes: Any) -> None:
        """Give a message its new status, durably."""


def targets(books: Books, message: Message) -> list[Message]:
    """The messages that a FORGET may forget now: all of them, or an error for the whole of it.

    One unknown hash blocks the others. Rejected, removed and forgotten targets count as unknown.
    """
    hashes = message.content["hashes"]
    if not hashes and not message.content.get("aggregates"):
        raise RejectError(NO_FORGET_TARGET)
    found = [_target(books, item_hash) for item_hash in hashes]
    for target in found:
        # Only the owner's word counts: having signed the target gives no right to forget it.
        allowed = message.sender == target.owner or may_act(
            message, books.aggregates.authorizations(target.owner), target.type
        )
        if not allowed:
            raise RejectError(PERMISSION_DENIED, [f"Cannot forget message {target.item_hash}"])
    return found


def _target(books: Books, item_hash: str) -> Message:
    target = books.get(item_hash)
    if target is None or target.status not in LIVE:
        raise RetryError(FORGET_TARGET_NOT_FOUND, [{"message": item_hash}])
    if target.type == "FORGET":
        raise RejectError(CANNOT_FORGET_FORGET, [{"message": item_hash}])
    return target


def apply(books: Books, message: Message) -> None:
    """Forget what the message names."""
    for target in targets(books, message):
        if target.type == "AGGREGATE":
            books.aggregates.drop(target)
        books.settle(target, FORGOTTEN, forgotten_by=[message.item_hash])
