"""Notes what is signed and what is sent: wrappers around the ports to the key and the network.

An entry names a message by its kind and hash, and the VM that it is about; never its bytes: those of a
FORGET are a kill switch.
"""

import json
from collections.abc import Sequence
from datetime import datetime

from ..domain.clock import iso
from ..domain.model import NetworkInstance, PublishedEnd, SignedMessage
from ..ports import (
    EraseOutcome,
    Execution,
    Hosts,
    InstanceSpec,
    Messages,
    MessageStatus,
    NetworkTrouble,
    Notified,
    NotifyOutcome,
    Rejection,
    Reserved,
    ReserveOutcome,
    RestartOutcome,
    Signer,
)
from .auditor import Auditor

SIGNED, SENT = "signature", "sent"


class WitnessedSigner:
    """The Signer port; each signature is noted."""

    def __init__(self, signer: Signer, auditor: Auditor) -> None:
        self._signer, self._auditor = signer, auditor

    @property
    def address(self) -> str:
        """See ports.Signer."""
        return self._signer.address

    @property
    def trouble(self) -> str:
        """See ports.Signer."""
        return self._signer.trouble

    async def sign_instance(self, spec: InstanceSpec) -> SignedMessage:
        """See ports.Signer."""
        message = await self._signer.sign_instance(spec)
        what = f"INSTANCE on {spec.crn.name or spec.crn.hash}, paid by {spec.payer}"
        self._auditor.note(SIGNED, what, message.item_hash)
        return message

    async def sign_forgets(self, item_hash: str, payer: str, count: int) -> tuple[SignedMessage, ...]:
        """See ports.Signer."""
        messages = await self._signer.sign_forgets(item_hash, payer, count)
        which = ", ".join(message.item_hash[:16] for message in messages)
        self._auditor.note(SIGNED, f"{len(messages)} FORGET: {which}", item_hash)
        return messages

    async def sign_extension(self, item_hash: str, end: PublishedEnd, at: datetime) -> SignedMessage:
        """See ports.Signer."""
        message = await self._signer.sign_extension(item_hash, end, at)
        what = f"AGGREGATE {message.item_hash}: extension {end.n}, until {iso(end.expires_at)}"
        self._auditor.note(SIGNED, what, item_hash)
        return message


class WitnessedMessages:
    """The Messages port; each broadcast is noted."""

    def __init__(self, messages: Messages, auditor: Auditor) -> None:
        self._messages, self._auditor = messages, auditor

    async def post(self, message: SignedMessage) -> None:
        """See ports.Messages."""
        kind, item_hash = _about(message)
        outcome = "its answer was not waited for"
        try:
            await self._messages.post(message)
            outcome = "a node has it"
        except NetworkTrouble as trouble:
            outcome = f"not known whether it arrived ({trouble.reason})"
            raise
        finally:
            self._auditor.note(SENT, f"{kind} {message.item_hash}: {outcome}", item_hash)

    async def status(self, item_hash: str) -> MessageStatus:
        """See ports.Messages."""
        return await self._messages.status(item_hash)

    async def opinions(self, item_hash: str) -> tuple[MessageStatus, ...]:
        """See ports.Messages."""
        return await self._messages.opinions(item_hash)

    async def which(self, item_hashes: Sequence[str], status: MessageStatus) -> frozenset[str]:
        """See ports.Messages."""
        return await self._messages.which(item_hashes, status)

    async def rejection(self, item_hash: str) -> Rejection | None:
        """See ports.Messages."""
        return await self._messages.rejection(item_hash)

    async def instances(self, sender: str) -> list[NetworkInstance]:
        """See ports.Messages."""
        return await self._messages.instances(sender)

    async def published_ends(self, owner: str) -> dict[str, PublishedEnd]:
        """See ports.Messages."""
        return await self._messages.published_ends(owner)

    async def sender(self, item_hash: str) -> str | None:
        """See ports.Messages."""
        return await self._messages.sender(item_hash)

    async def granted(self, payer: str, agent: str) -> frozenset[str]:
        """See ports.Messages."""
        return await self._messages.granted(payer, agent)

    async def removing(self, sender: str) -> frozenset[str]:
        """See ports.Messages."""
        return await self._messages.removing(sender)

    async def network_time(self) -> datetime:
        """See ports.Messages."""
        return await self._messages.network_time()


class WitnessedHosts:
    """The Hosts port; each order to a CRN is noted."""

    def __init__(self, hosts: Hosts, auditor: Auditor) -> None:
        self._hosts, self._auditor = hosts, auditor

    async def reserve(self, url: str, create: SignedMessage) -> Reserved:
        """See ports.Hosts. It is signed, where anything is reserved."""
        outcome = "not known whether it took effect"
        try:
            answer = await self._hosts.reserve(url, create)
            outcome = f"{answer.outcome} {answer.text}".strip()
        finally:
            if outcome != ReserveOutcome.NOT_NEEDED:
                self._auditor.note(SENT, f"signed reservation to {url}: {outcome}", create.item_hash)
        return answer

    async def notify(self, url: str, item_hash: str) -> Notified:
        """See ports.Hosts."""
        outcome, accepted = "not known whether it arrived", False
        try:
            answer = await self._hosts.notify(url, item_hash)
            outcome, accepted = (
                f"{answer.outcome} {answer.text}".strip(),
                answer.outcome is NotifyOutcome.ACCEPTED,
            )
        finally:
            # A CRN that is asked too early is asked again, many times.
            self._auditor.note(SENT, f"notify to {url}: {outcome}", item_hash, countable=not accepted)
        return answer

    async def erase(self, url: str, item_hash: str) -> EraseOutcome:
        """See ports.Hosts. It is signed."""
        outcome = "not known whether it took effect"
        try:
            answer = await self._hosts.erase(url, item_hash)
            outcome = str(answer)
        finally:
            self._auditor.note(SENT, f"signed erase to {url}: {outcome}", item_hash)
        return answer

    async def restart(self, url: str, item_hash: str, *, wipe: bool) -> RestartOutcome:
        """See ports.Hosts. It is signed."""
        outcome = "not known whether it took effect"
        try:
            answer = await self._hosts.restart(url, item_hash, wipe=wipe)
            outcome = str(answer)
        finally:
            what = "reinstall" if wipe else "reboot"
            self._auditor.note(SENT, f"signed {what} to {url}: {outcome}", item_hash)
        return answer

    async def execution(self, url: str, item_hash: str) -> Execution | None:
        """See ports.Hosts."""
        return await self._hosts.execution(url, item_hash)

    async def executions(self, url: str, item_hashes: Sequence[str]) -> dict[str, Execution]:
        """See ports.Hosts."""
        return await self._hosts.executions(url, item_hashes)

    async def ssh_answers(self, host: str, port: int) -> bool:
        """See ports.Hosts."""
        return await self._hosts.ssh_answers(host, port)


def _about(message: SignedMessage) -> tuple[str, str]:
    """The kind of a message, and the VM that it is about; one that cannot be read is sent all the same."""
    try:
        fields = json.loads(message.body)
        kind = str(fields["type"])
        if kind == "FORGET":
            return kind, str(json.loads(fields["item_content"])["hashes"][0])
        return kind, message.item_hash if kind == "INSTANCE" else ""
    except (ValueError, KeyError, IndexError, TypeError):
        return "message", ""
