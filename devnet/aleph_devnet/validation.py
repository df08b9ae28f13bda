"""What a CCN checks before anything else: shape, hash, signature, and who may act for whom."""

import hashlib
import json
from typing import Any

from aleph_message.models import (
    AggregateContent,
    ForgetContent,
    InstanceContent,
    PostContent,
    ProgramContent,
    StoreContent,
)
from eth_account.messages import encode_defunct
from pydantic import BaseModel, ValidationError

from aleph_devnet.message import Message
from aleph_devnet.signatures import signer_of

INVALID_SIGNATURE = 1
PERMISSION_DENIED = 2
INSUFFICIENT_CREDITS = 6
CREDIT_PAYMENT_REQUIRED = 202
VOLUME_NOT_FOUND = 301
NO_FORGET_TARGET = 500
FORGET_TARGET_NOT_FOUND = 501
CANNOT_FORGET_FORGET = 502

MAX_INLINE = 200_000
_MODELS: dict[str, type[BaseModel]] = {
    "INSTANCE": InstanceContent,
    "FORGET": ForgetContent,
    "AGGREGATE": AggregateContent,
    "POST": PostContent,
    "PROGRAM": ProgramContent,
    "STORE": StoreContent,
}


class InvalidFormatError(Exception):
    """Answered with 422 and never stored."""


class InternalNodeError(Exception):
    """What makes a real node answer 500."""


class RejectError(Exception):
    """Final: the message is rejected with this code."""

    def __init__(self, code: int, errors: list[Any] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.details = {"errors": errors} if errors else None


class RetryError(RejectError):
    """Not now: the message stays pending, and is rejected with this code when the retries run out."""


def parse(raw: Any, received_at: float) -> Message:
    """The message inside a POST, or InvalidFormatError."""
    if not isinstance(raw, dict):
        raise InvalidFormatError
    if isinstance(raw.get("time"), str):
        raise InternalNodeError
    for name, kinds in _FIELDS.items():
        if not isinstance(raw.get(name), kinds) or isinstance(raw.get(name), bool):
            raise InvalidFormatError
    kind, text = raw["type"], raw["item_content"]
    if raw["item_type"] != "inline" or len(text) > MAX_INLINE or kind not in _MODELS or not raw["sender"]:
        raise InvalidFormatError
    if hashlib.sha256(text.encode()).hexdigest() != raw["item_hash"]:
        raise InvalidFormatError
    fields: dict[str, Any] = {name: raw.get(name) for name in (*_FIELDS, "signature", "channel")}
    return Message(**fields, content=_content(kind, text), received_at=received_at)


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "sender": str,
    "chain": str,
    "type": str,
    "item_type": str,
    "item_content": str,
    "item_hash": str,
    "time": (int, float),
}


def _content(kind: str, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
        _MODELS[kind].model_validate(content)
    except (ValidationError, ValueError) as error:
        raise InvalidFormatError from error
    assert isinstance(content, dict)
    return content


def check_signature(message: Message) -> None:
    """EIP-191 over chain, sender, type and hash; addresses are compared as they are written."""
    text = f"{message.chain}\n{message.sender}\n{message.type}\n{message.item_hash}"
    try:
        signature = bytes.fromhex((message.signature or "").removeprefix("0x"))
    except ValueError as error:
        raise RejectError(INVALID_SIGNATURE) from error
    if signer_of(encode_defunct(text=text), signature) != message.sender:
        raise RejectError(INVALID_SIGNATURE)


def may_act(message: Message, authorizations: list[Any], kind: str | None = None) -> bool:
    """Whether the owner's authorizations let this sender send a message of this kind for the owner."""
    return any(_covers(entry, message, kind or message.type) for entry in authorizations)


def _covers(entry: Any, message: Message, kind: str) -> bool:
    if not isinstance(entry, dict) or entry.get("address") != message.sender:
        return False
    limits: list[tuple[str, Any]] = [("types", kind), ("channels", message.channel)]
    if kind == "AGGREGATE":
        limits.append(("aggregate_keys", message.content.get("key")))
    if kind == "POST":
        limits.append(("post_types", message.content.get("type")))
    if entry.get("chain") not in (None, message.chain):
        return False
    return all(not entry.get(name) or value in entry[name] for name, value in limits)
