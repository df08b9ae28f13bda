"""Messages on the core channel nodes: post, status, why it was refused."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ...domain.delegation import grants_of
from ...domain.forwards import Forwards
from ...domain.model import NetworkInstance, PublishedEnd, SignedMessage
from ...ports import MessageStatus, Rejection
from .ccn import Ccn
from .checked import clean, making_sense, mapping, number, text, whole
from .extensions import published_ends
from .forwarding import published_forwards
from .listing import list_among, list_instances

_REASONS = {
    1: "the signature is wrong",
    2: "the payer has not authorised this key",
    5: "the balance is too low",
    6: "not enough credits",
    202: "the payment is not in credits",
    301: "the OS image is not known to the network",
    501: "the message to forget was not found",
}
_LISTED_AS = {MessageStatus.PROCESSED: "processed,removing", MessageStatus.FORGOTTEN: "forgotten"}
"""A CCN refuses to list forgotten messages together with others."""
_SECURITY = "security"
_NO_SUCH_HASH = "0" * 64


class AlephMessages:
    """The `Messages` port. Every read is raw JSON: the SDK's models reject answers that we need."""

    def __init__(self, ccn: Ccn) -> None:
        self._ccn = ccn

    async def post(self, message: SignedMessage) -> None:
        """Broadcast the stored bytes; 2xx and 422 both mean that a CCN has seen them."""
        body = b'{"sync": true, "message": ' + message.body.encode() + b"}"
        answer = await self._ccn.post("/api/v0/messages", body)
        if not (200 <= answer.status < 300 or answer.status == 422):
            raise answer.unexpected()

    async def status(self, item_hash: str) -> MessageStatus:
        """What one CCN says of it now."""

        return await self._ccn.ask(lambda host: self._status(host, item_hash))

    async def opinions(self, item_hash: str) -> tuple[MessageStatus, ...]:
        """What each CCN that answers says of it."""
        return await self._ccn.ask_all(lambda host: self._status(host, item_hash))

    async def _status(self, host: str, item_hash: str) -> MessageStatus:
        answer = await self._ccn.get(host, f"{_path(item_hash)}/status", expect=(200, 404))
        if answer.status == 404:
            return MessageStatus.UNKNOWN
        with making_sense(answer.endpoint):
            said = mapping(answer.json())
            if said.get("item_hash", item_hash) != item_hash:
                raise ValueError("the status of another message")
            return MessageStatus(text(said["status"]).lower())

    async def which(self, item_hashes: Sequence[str], status: MessageStatus) -> frozenset[str]:
        """Those among a few INSTANCEs that one CCN lists with this status; the others may have any."""

        async def question(host: str) -> frozenset[str]:
            return await list_among(self._ccn, host, item_hashes, _LISTED_AS[status])

        return await self._ccn.ask(question)

    async def rejection(self, item_hash: str) -> Rejection | None:
        """Why it was rejected; None when the CCN does not say that it was."""

        async def question(host: str) -> Rejection | None:
            answer = await self._ccn.get(host, _path(item_hash), expect=(200, 404))
            if answer.status == 404:
                return None
            with making_sense(answer.endpoint):
                said = mapping(answer.json())
                return _rejection(said) if text(said["status"]).lower() == MessageStatus.REJECTED else None

        return await self._ccn.ask(question)

    async def sender(self, item_hash: str) -> str | None:
        """Who signed it; every status has a shape of its own, and each names the sender."""

        async def question(host: str) -> str | None:
            answer = await self._ccn.get(host, _path(item_hash), expect=(200, 400, 404))
            if answer.status != 200:
                return None
            with making_sense(answer.endpoint):
                said = mapping(answer.json())
                several = said.get("messages")
                message = several[0] if isinstance(several, list) and several else said.get("message")
                sender = message.get("sender") if isinstance(message, dict) else None
                return sender if isinstance(sender, str) else None

        return await self._ccn.ask(question)

    async def instances(self, sender: str) -> list[NetworkInstance]:
        """Every processed or removing INSTANCE of this sender. A partial or shifting listing raises."""

        async def question(host: str) -> list[NetworkInstance]:
            return await list_instances(self._ccn, host, sender)

        return await self._ccn.ask(question)

    async def published_ends(self, owner: str) -> dict[str, PublishedEnd]:
        """The extensions in our AGGREGATE."""
        return await published_ends(self._ccn, owner)

    async def forwards(self, owner: str) -> dict[str, Forwards]:
        """The ports in this address's AGGREGATE."""
        return await published_forwards(self._ccn, owner)

    async def granted(self, payer: str, agent: str) -> frozenset[str]:
        """From the payer's `security` aggregate, which is what nodes decide by."""

        async def question(host: str) -> frozenset[str]:
            path = f"/api/v0/aggregates/{quote(payer, safe='')}.json"
            answer = await self._ccn.get(host, path, {"keys": _SECURITY}, expect=(200, 404))
            if answer.status == 404:
                return frozenset()
            with making_sense(answer.endpoint):
                data = mapping(mapping(answer.json())["data"])
                return grants_of(mapping(data.get(_SECURITY) or {}).get("authorizations"), agent)

        return await self._ccn.ask(question)

    async def removing(self, sender: str) -> frozenset[str]:
        """The hashes of this sender's INSTANCEs that the network is removing. A partial listing raises."""

        async def question(host: str) -> frozenset[str]:
            listed = await list_instances(self._ccn, host, sender, MessageStatus.REMOVING)
            return frozenset(item.item_hash for item in listed)

        return await self._ccn.ask(question)

    async def network_time(self) -> datetime:
        """The `Date` of an answer to a small question."""

        async def question(host: str) -> datetime:
            return (await self._ccn.get(host, f"{_path(_NO_SUCH_HASH)}/status", expect=(200, 404))).at()

        return await self._ccn.ask(question)


def _path(item_hash: str) -> str:
    return f"/api/v0/messages/{quote(item_hash, safe='')}"


def _rejection(said: dict[str, Any]) -> Rejection:
    code = whole(said["error_code"])
    details = said.get("details")
    errors = details.get("errors") if isinstance(details, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else details
    amounts = first if isinstance(first, dict) else {}
    words = "" if first is None or code in (5, 6) else f": {clean(json.dumps(first, default=str), 160)}"
    return Rejection(
        error_code=code,
        text=_REASONS.get(code, f"error {code}") + words,
        required_units=_amount(amounts.get("required_credits")),
        balance_units=_amount(amounts.get("account_credits")),
    )


def _amount(value: Any) -> int | None:
    return None if value is None else int(number(value, at_least=-(10**18)).to_integral_value())
