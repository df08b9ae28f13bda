"""Nothing is signed for a VM that was made under another key: wrappers around the two ports that sign."""

from collections.abc import Sequence
from datetime import datetime

from ..domain.errors import Unavailable
from ..domain.model import PublishedEnd, SignedMessage
from ..ports import (
    EraseOutcome,
    Execution,
    Hosts,
    InstanceSpec,
    Inventory,
    KeyMissing,
    Notified,
    Reserved,
    RestartOutcome,
    Signer,
    StoreTrouble,
)


def no_key(why: str) -> Unavailable:
    """The refusal while there is no usable key; it ends with what the owner is to do next."""
    _, _, command = why.partition("run: ")
    return Unavailable(
        f"There is no usable key: {why.rstrip('.')}.",
        f"Ask the owner to run: {command or 'aleph-agentctl status, and to put the key right'}",
        code="no_key",
    )


async def check_own(inventory: Inventory, signer: Signer, item_hash: str) -> None:
    """Raises KeyMissing for a VM of another key; one without a row is judged by who lists it."""
    if signer.trouble:
        raise KeyMissing(signer.trouble)
    try:
        vm = await inventory.get(item_hash)
    except StoreTrouble as trouble:
        raise KeyMissing(f"it is not known whose VM this is: {trouble}") from trouble
    if vm is not None and vm.signer and vm.signer.lower() != signer.address.lower():
        raise KeyMissing(f"{vm.name} was made with the key of {vm.signer}; this one is {signer.address}'s")


class OwnKeySigner:
    """The Signer port, for our own VMs."""

    def __init__(self, signer: Signer, inventory: Inventory) -> None:
        self._signer, self._inventory = signer, inventory

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
        return await self._signer.sign_instance(spec)

    async def sign_forgets(self, item_hash: str, payer: str, count: int) -> tuple[SignedMessage, ...]:
        """See ports.Signer."""
        await check_own(self._inventory, self._signer, item_hash)
        return await self._signer.sign_forgets(item_hash, payer, count)

    async def sign_extension(self, item_hash: str, end: PublishedEnd, at: datetime) -> SignedMessage:
        """See ports.Signer."""
        await check_own(self._inventory, self._signer, item_hash)
        return await self._signer.sign_extension(item_hash, end, at)


class OwnKeyHosts:
    """The Hosts port; what is signed, only for our own VMs."""

    def __init__(self, hosts: Hosts, signer: Signer, inventory: Inventory) -> None:
        self._hosts, self._signer, self._inventory = hosts, signer, inventory

    async def erase(self, url: str, item_hash: str) -> EraseOutcome:
        """See ports.Hosts."""
        await check_own(self._inventory, self._signer, item_hash)
        return await self._hosts.erase(url, item_hash)

    async def restart(self, url: str, item_hash: str, *, wipe: bool) -> RestartOutcome:
        """See ports.Hosts."""
        await check_own(self._inventory, self._signer, item_hash)
        return await self._hosts.restart(url, item_hash, wipe=wipe)

    async def reserve(self, url: str, create: SignedMessage) -> Reserved:
        """See ports.Hosts. Nothing is signed by another key than the payer's."""
        return await self._hosts.reserve(url, create)

    async def notify(self, url: str, item_hash: str) -> Notified:
        """See ports.Hosts."""
        return await self._hosts.notify(url, item_hash)

    async def execution(self, url: str, item_hash: str) -> Execution | None:
        """See ports.Hosts."""
        return await self._hosts.execution(url, item_hash)

    async def executions(self, url: str, item_hashes: Sequence[str]) -> dict[str, Execution]:
        """See ports.Hosts."""
        return await self._hosts.executions(url, item_hashes)

    async def ssh_answers(self, host: str, port: int) -> bool:
        """See ports.Hosts."""
        return await self._hosts.ssh_answers(host, port)
