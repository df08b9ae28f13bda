"""What the key signs: our own INSTANCEs, FORGETs of exactly one VM, extensions of a lease, open ports of one VM. Nothing is sent from here."""

import asyncio
import json
import re
import secrets
import time
from datetime import datetime
from typing import Any

from ...domain.crn import Gpu
from ...domain.delegation import CHANNEL
from ...domain.forwards import Forwards
from ...domain.model import PublishedEnd, SignedMessage
from ...ports import InstanceSpec
from .account import KeyAccount
from .extensions import extension_content
from .forwarding import ports_content
from .keys import KeyFile
from .sdk import Sdk
from .stamps import write_stamp

_SSH_KEY = re.compile(r"((?:ssh|ecdsa|sk)-[a-z0-9@.-]+) ([A-Za-z0-9+/]+={0,3})(?: [^\r\n]*)?")
_FIELDS = {
    "sender",
    "chain",
    "signature",
    "type",
    "item_hash",
    "item_type",
    "item_content",
    "time",
    "channel",
}


class AlephSigner:
    """The `Signer` port over a key file and the SDK."""

    def __init__(self, keys: KeyFile, sdk: Sdk) -> None:
        self._keys = keys
        self._sdk = sdk

    @property
    def address(self) -> str:
        """The checksummed address of the key. Raises KeyMissing."""
        return self._keys.account().get_address()

    @property
    def trouble(self) -> str:
        """Why there is no usable key, in one line; empty when there is one."""
        return self._keys.trouble

    async def sign_instance(self, spec: InstanceSpec) -> SignedMessage:
        """A new INSTANCE, with a new hash at every call."""
        account = await self._account()
        from aleph_message.models import MessageType

        return await _signed(account, MessageType.instance, _instance_content(spec))

    async def sign_forgets(self, item_hash: str, payer: str, count: int) -> tuple[SignedMessage, ...]:
        """`count` FORGETs of that one hash; their reasons differ, so their hashes do (rules.md 3)."""
        account = await self._account()
        from aleph_message.models import MessageType

        contents = [_forget_content(item_hash, payer) for _ in range(count)]
        return tuple([await _signed(account, MessageType.forget, content) for content in contents])

    async def sign_extension(self, item_hash: str, end: PublishedEnd, at: datetime) -> SignedMessage:
        """An AGGREGATE of our own address with the one entry of this extension, dated `at`."""
        account = await self._account()
        from aleph_message.models import MessageType

        content = extension_content(item_hash, end, account.get_address(), at)
        return await _signed(account, MessageType.aggregate, content)

    async def sign_ports(self, item_hash: str, payer: str, forwards: Forwards, at: datetime) -> SignedMessage:
        """An AGGREGATE of the payer's with what is open of this one VM, dated `at`."""
        content = ports_content(item_hash, payer, forwards, at)
        account = await self._account()
        from aleph_message.models import MessageType

        return await _signed(account, MessageType.aggregate, content)

    async def _account(self) -> KeyAccount:
        account = await asyncio.to_thread(self._keys.open)
        await self._sdk.loaded()
        return account


def bare_ssh_key(line: str) -> str:
    """The type and the key of a public key line; its comment often names a person (rules.md 10)."""
    match = _SSH_KEY.fullmatch(line.strip())
    if not match:
        raise ValueError("not one OpenSSH public key (`ssh-ed25519 AAAA… comment`)")
    return f"{match[1]} {match[2]}"


def _instance_content(spec: InstanceSpec) -> dict[str, Any]:
    from aleph.sdk.utils import make_instance_content
    from aleph_message.models import Chain
    from aleph_message.models.execution.base import Payment, PaymentType
    from aleph_message.models.execution.environment import GpuProperties, HostRequirements, NodeRequirements

    node = {"node_hash": spec.crn.hash, "terms_and_conditions": spec.crn.terms_and_conditions or None}
    content = make_instance_content(
        rootfs=spec.rootfs,
        rootfs_size=spec.disk_mib,
        # The SDK's default payment is "hold", which nodes refuse.
        payment=Payment(chain=Chain.ETH, type=PaymentType.credit, receiver=None),
        address=spec.payer,
        memory=spec.memory_mib,
        vcpus=spec.vcpus,
        ssh_keys=[bare_ssh_key(key) for key in (spec.ssh_pubkey, spec.guest_pubkey) if key],
        metadata=write_stamp(spec.stamp),
        requirements=HostRequirements(
            node=NodeRequirements.model_validate(node),
            gpu=[GpuProperties.model_validate(_gpu(spec.gpu))] if spec.gpu else None,
        ),
    )
    plain: dict[str, Any] = content.model_dump(exclude_none=True)
    return plain


def _gpu(gpu: Gpu) -> dict[str, str]:
    return {
        "vendor": gpu.vendor,
        "device_name": gpu.device_name,
        "device_class": gpu.device_class,
        "device_id": gpu.device_id,
    }


def _forget_content(item_hash: str, payer: str) -> dict[str, Any]:
    from aleph_message.models import ForgetContent, ItemHash

    reason = f"aleph-agentd: the lease has ended ({secrets.token_hex(4)})"
    content = ForgetContent(hashes=[ItemHash(item_hash)], reason=reason, address=payer, time=time.time())
    plain: dict[str, Any] = content.model_dump(exclude_none=True)
    return plain


async def _signed(account: KeyAccount, kind: Any, content: dict[str, Any]) -> SignedMessage:
    from aleph.sdk.client.authenticated_http import AuthenticatedAlephHttpClient
    from aleph.sdk.utils import extended_json_encoder

    # Never entered, so it has no session: signing cannot send anything.
    client = AuthenticatedAlephHttpClient(account=account, allow_unix_sockets=False)
    message = await client.generate_signed_message(kind, content, CHANNEL)
    fields = message.model_dump(include=_FIELDS)
    return SignedMessage(
        item_hash=str(message.item_hash),
        body=json.dumps(fields, separators=(",", ":"), default=extended_json_encoder),
    )
