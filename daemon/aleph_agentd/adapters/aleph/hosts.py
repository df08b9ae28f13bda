"""The CRNs: reserve, notify, list, erase, and whether SSH answers."""

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ...domain.model import SignedMessage
from ...ports import (
    EraseOutcome,
    Execution,
    NetworkTrouble,
    Notified,
    NotifyOutcome,
    Reserved,
    ReserveOutcome,
    RestartOutcome,
)
from .checked import address, clean, making_sense, mapping, node_url
from .executions import find_execution
from .http import Answer, Http, take
from .keys import KeyFile
from .reservation import BoundedPost, instance_of, needs_gpu
from .sdk import Sdk
from .settings import NetworkSettings

if TYPE_CHECKING:
    from aleph.sdk.client.vm_client import VmClient
    from aleph_message.models import ItemHash

Operation = Literal["erase", "reboot", "reinstall"]
"""All that is ever signed for a CRN."""

_SSH_GREETING = b"SSH-"
_GATEWAY_TROUBLE = (502, 504)


class AlephHosts:
    """The `Hosts` port."""

    def __init__(self, http: Http, keys: KeyFile, sdk: Sdk, settings: NetworkSettings) -> None:
        self._http = http
        self._keys = keys
        self._sdk = sdk
        self._allow_local = settings.allow_local
        self._timeouts = settings.timeouts

    async def reserve(self, url: str, create: SignedMessage) -> Reserved:
        """Ask a CRN to keep the GPU that this INSTANCE needs. Raises KeyMissing without a key."""
        content = instance_of(create)
        if not needs_gpu(content):
            return Reserved(ReserveOutcome.NOT_NEEDED)
        from_key = await asyncio.to_thread(self._keys.open)
        # It is kept for who signs this, and given to who pays: for another payer it would shut out our own VM.
        if content["address"] != from_key.get_address():
            return Reserved(ReserveOutcome.NOT_NEEDED)
        base = self._base(url)
        await self._sdk.loaded()
        from aleph.sdk.client.vm_client import VmClient

        post = BoundedPost(await self._http.session(), f"POST {base}/control/reserve_resources")
        client = VmClient(from_key, base, session=post)  # type: ignore[arg-type]
        async with self._http.guard(post.endpoint, self._timeouts.read_s):
            await client.reserve_resources(content)
        return _reserved(post.answer())

    async def notify(self, url: str, item_hash: str) -> Notified:
        """Ask a CRN to run the VM. Never once teardown began: it resurrects."""
        body = json.dumps({"instance": item_hash}).encode()
        target = f"{self._base(url)}/control/allocation/notify"
        return _notified(await self._http.post(target, body=body, timeout_s=self._timeouts.notify_s))

    async def execution(self, url: str, item_hash: str) -> Execution | None:
        """This VM on the CRN's list; None: the list answered, and it is not on it."""
        return (await self.executions(url, [item_hash])).get(item_hash)

    async def executions(self, url: str, item_hashes: Sequence[str]) -> dict[str, Execution]:
        """Those of these VMs that are on the CRN's list; it is asked once."""
        base, timeout_s = self._base(url), self._timeouts.executions_s
        answer = await self._http.get(f"{base}/v2/about/executions/list", timeout_s=timeout_s)
        if answer.status == 404:
            answer = await self._http.get(f"{base}/about/executions/list", timeout_s=timeout_s)
        if answer.status != 200:
            raise answer.unexpected()
        with making_sense(answer.endpoint):
            document = answer.json()
            found = {item: find_execution(document, item, self._allow_local) for item in item_hashes}
        return {item: execution for item, execution in found.items() if execution is not None}

    async def erase(self, url: str, item_hash: str) -> EraseOutcome:
        """Stop the VM and delete its volumes. Raises KeyMissing without a key."""
        return _erased(await self._operate(url, item_hash, "erase"))

    async def restart(self, url: str, item_hash: str, *, wipe: bool) -> RestartOutcome:
        """Reboot a VM; with `wipe` from its first image. Raises KeyMissing without a key."""
        return _restarted(await self._operate(url, item_hash, "reinstall" if wipe else "reboot"))

    async def _operate(self, url: str, item_hash: str, operation: Operation) -> Answer:
        """One signed order to a CRN. Raises KeyMissing without a key."""
        from_key = await asyncio.to_thread(self._keys.open)
        base = self._base(url)
        await self._sdk.loaded()
        from aleph.sdk.client.vm_client import VmClient
        from aleph_message.models import ItemHash

        # A client per call: its key header is then never older than the CRN's clock allows.
        client = VmClient(from_key, base, session=await self._http.session())
        return await self._send(client, base, ItemHash(item_hash), operation)

    async def ssh_answers(self, host: str, port: int) -> bool:
        """Whether an SSH server greets there, within a few seconds."""
        ip = address(host, 4, self._allow_local) or address(host, 6, self._allow_local)
        if not ip or not 1 <= port <= 65535:
            return False
        try:
            async with asyncio.timeout(self._timeouts.ssh_s):
                return await _greets(ip, port)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            return False

    async def _send(
        self, client: "VmClient", base: str, item_hash: "ItemHash", operation: Operation
    ) -> Answer:
        endpoint = f"POST {base}/control/machine/{item_hash}/{operation}"
        # Not perform_operation: it would read an answer of any size.
        async with (
            self._http.guard(endpoint, self._timeouts.erase_s),
            client.operate(item_hash, operation) as response,
        ):
            return await take(endpoint, response)

    def _base(self, url: str) -> str:
        with making_sense(clean(url)):
            return node_url(url, self._allow_local)


async def _greets(ip: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(ip, port, limit=256)
    try:
        return await reader.readexactly(len(_SSH_GREETING)) == _SSH_GREETING
    finally:
        writer.transport.abort()


def _reserved(answer: Answer) -> Reserved:
    if answer.status == 200:
        with making_sense(answer.endpoint):
            kept = mapping(answer.json()).get("status") == "reserved"
        return Reserved(ReserveOutcome.RESERVED if kept else ReserveOutcome.REFUSED, answer.text)
    if answer.status in (404, 405):
        return Reserved(ReserveOutcome.NOT_OFFERED, answer.text)
    if answer.status in (400, 401, 403, 503):
        return Reserved(ReserveOutcome.REFUSED, answer.text)
    raise answer.unexpected()


def _notified(answer: Answer) -> Notified:
    if answer.status in _GATEWAY_TROUBLE or 300 <= answer.status < 400:
        raise answer.unexpected()
    if 200 <= answer.status < 300:
        with making_sense(answer.endpoint):
            accepted = mapping(answer.json()).get("success") is True
        return Notified(NotifyOutcome.ACCEPTED if accepted else NotifyOutcome.REFUSED, answer.text)
    if answer.status == 402:
        return Notified(NotifyOutcome.NO_CREDITS, answer.text)
    if answer.status == 500 and "message not found" in answer.text.lower():
        return Notified(NotifyOutcome.TOO_EARLY, answer.text)
    return Notified(NotifyOutcome.REFUSED, answer.text)


def _erased(answer: Answer) -> EraseOutcome:
    if answer.status == 200:
        return EraseOutcome.ERASED
    if answer.status == 404:
        return EraseOutcome.NOT_THERE
    if answer.status in (400, 401, 403):
        return EraseOutcome.REFUSED
    raise NetworkTrouble(answer.endpoint, f"answered {answer.status}: {answer.text}")


def _restarted(answer: Answer) -> RestartOutcome:
    if answer.status == 200:
        return RestartOutcome.DONE
    if answer.status == 404:
        return RestartOutcome.NOT_OFFERED
    if answer.status in (400, 401, 403):
        return RestartOutcome.REFUSED
    raise NetworkTrouble(answer.endpoint, f"answered {answer.status}: {answer.text}")
