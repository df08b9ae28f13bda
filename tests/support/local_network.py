"""A devnet inside the test's own event loop, driven by the unmodified SDK and by raw requests."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aleph.sdk.chains.ethereum import ETHAccount
from aleph.sdk.client import AuthenticatedAlephHttpClient
from aleph.sdk.client.vm_client import VmClient
from aleph.sdk.conf import settings
from aleph.sdk.utils import make_instance_content
from aleph_message.models import Chain, MessageType, Payment, PaymentType
from aleph_message.models.execution.environment import HostRequirements, NodeRequirements

from aleph_devnet.app import Devnet
from aleph_devnet.network import IMAGES, Network, Options

CHANNEL = "ALEPH-CLOUDSOLUTIONS"
CREDIT = Payment(chain=Chain.ETH, type=PaymentType.credit, receiver=None)
UNKNOWN = "ab" * 32


class LocalNetwork:
    """The network, its levers, and clients that are closed with it."""

    def __init__(self, devnet: Devnet, facts: dict[str, Any], stack: AsyncExitStack) -> None:
        self.network, self.facts, self._stack = devnet.network, facts, stack
        self._devnet = devnet
        self._sdks: dict[str, AuthenticatedAlephHttpClient] = {}
        self.http: aiohttp.ClientSession

    # Who

    def account(self, role: str = "funded") -> ETHAccount:
        """The SDK's account for a role."""
        return ETHAccount(private_key=self.network.accounts[role].key_file.read_bytes())

    def address(self, role: str = "funded") -> str:
        """A role's address."""
        return self.network.accounts[role].address

    async def sdk(self, role: str = "funded") -> AuthenticatedAlephHttpClient:
        """The SDK's client for a role."""
        if role not in self._sdks:
            client = AuthenticatedAlephHttpClient(self.account(role), api_server=self.facts["api_host"])
            self._sdks[role] = await self._stack.enter_async_context(client)
        return self._sdks[role]

    async def vm_client(self, crn: int = 0, role: str = "funded") -> VmClient:
        """The SDK's client for operations on a CRN."""
        return await self._stack.enter_async_context(VmClient(self.account(role), self.crn_url(crn)))

    def crn_url(self, crn: int = 0) -> str:
        """A CRN's URL."""
        return str(self.facts["crns"][crn]["url"])

    def crn_hash(self, crn: int = 0) -> str:
        """A CRN's node hash."""
        return str(self.facts["crns"][crn]["hash"])

    # What the SDK does

    def plan(self, **changes: Any) -> dict[str, Any]:
        """Arguments of `create_instance` for the smallest VM, on no CRN in particular."""
        smallest = {"memory": 2048, "vcpus": 1, "rootfs_size": 20_480}
        return {"rootfs": IMAGES["ubuntu22"], "payment": CREDIT, "ssh_keys": [], **smallest, **changes}

    def on_crn(self, crn: int = 0) -> HostRequirements:
        """Requirements that pin a VM to a CRN."""
        return HostRequirements(node=NodeRequirements(node_hash=self.crn_hash(crn)))

    async def create(self, role: str = "funded", **changes: Any) -> str:
        """Create a VM with the SDK; returns its hash."""
        client = await self.sdk(role)
        message, _ = await client.create_instance(**self.plan(**changes), sync=True)
        return str(message.item_hash)

    async def signed_instance(self, role: str = "funded", **changes: Any) -> dict[str, Any]:
        """The bytes of a create, signed by the SDK and not sent."""
        client = await self.sdk(role)
        content = make_instance_content(**{"address": self.address(role), **self.plan(**changes)})
        return await self.signed(MessageType.instance, content.model_dump(exclude_none=True), client)

    async def signed_forget(
        self, item_hash: str, reason: str = "", role: str = "funded", **extra: Any
    ) -> Any:
        """The bytes of a FORGET, signed by the SDK and not sent."""
        now = self.network.clock.now()
        content = {"address": self.address(role), "time": now, "hashes": [item_hash], "reason": reason}
        return await self.signed(MessageType.forget, {**content, **extra}, await self.sdk(role))

    async def signed(
        self, kind: MessageType, content: dict[str, Any], client: AuthenticatedAlephHttpClient
    ) -> dict[str, Any]:
        """Any message, signed by the SDK and not sent."""
        message = await client.generate_signed_message(kind, content, CHANNEL)
        raw = message.model_dump(include=client.BROADCAST_MESSAGE_FIELDS, mode="json")
        return {**raw, "time": message.time.timestamp()}

    # What a raw client sees

    async def post(self, message: Any, *, sync: bool = True) -> tuple[int, Any]:
        """Publish bytes; returns status and body."""
        return await self.ask("POST", "/api/v0/messages", json={"sync": sync, "message": message})

    async def get(self, path: str, **params: Any) -> tuple[int, Any]:
        """GET from the CCN, or from a whole URL."""
        return await self.ask("GET", path, params=params)

    async def ask(self, method: str, path: str, **kwargs: Any) -> tuple[int, Any]:
        """One request; JSON is parsed."""
        url = path if path.startswith("http") else self.facts["api_host"] + path
        async with self.http.request(method, url, **kwargs) as answer:
            text = await answer.text()
        return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    async def status(self, item_hash: str) -> str:
        """A message's status, or "unknown"."""
        code, body = await self.get(f"/api/v0/messages/{item_hash}/status")
        return str(body["status"]) if code == 200 else "unknown"

    async def notify(self, item_hash: str, crn: int = 0) -> tuple[int, Any]:
        """The unauthenticated notify."""
        url = self.crn_url(crn) + "/control/allocation/notify"
        return await self.ask("POST", url, json={"instance": item_hash})

    async def executions(self, crn: int = 0) -> dict[str, Any]:
        """A CRN's pool, raw."""
        status, body = await self.get(self.crn_url(crn) + "/v2/about/executions/list")
        assert status == 200
        return dict(body)

    # Levers

    async def advance(self, seconds: float) -> None:
        """Move the clock, and do what became due."""
        await self.control("clock", {"advance_s": seconds})

    async def control(self, lever: str, body: Any = None) -> Any:
        """Pull a lever of `/devnet/`, or read when there is no body."""
        method = "GET" if body is None else "POST"
        status, answer = await self.ask(method, f"/devnet/{lever}", json=body)
        assert status == 200, answer
        return answer

    async def fault(self, effect: dict[str, Any], count: int | None = None, **match: str) -> None:
        """Add a fault."""
        await self.control("faults", {"match": match, "effect": effect, "count": count})

    async def running(self, item_hash: str, crn: int = 0) -> dict[str, Any]:
        """Notify a VM and let its boot time pass; returns its entry in the pool."""
        assert (await self.notify(item_hash, crn))[0] == 200
        await self.advance(self.network.options.boot_seconds)
        return dict((await self.executions(crn))[item_hash])

    async def eventually_running(self, item_hash: str, crn: int = 0) -> None:
        """Wait until the ticker has started a VM."""
        while not (await self.executions(crn)).get(item_hash, {}).get("running"):
            await asyncio.sleep(0.02)


@asynccontextmanager
async def local_network(folder: Path, **options: Any) -> AsyncIterator[LocalNetwork]:
    """A network in `folder`. The SDK's own settings point at it until it ends."""
    devnet = Devnet(Network(Options(folder, **{"port": 0, "boot_seconds": 30.0, **options})))
    facts = await devnet.start()
    before = settings.CRN_LIST_URL, settings.ALEPH_AGGREGATE_ADDRESS
    settings.CRN_LIST_URL = facts["crn_list_url"]
    settings.ALEPH_AGGREGATE_ADDRESS = facts["aggregate_address"]
    try:
        async with AsyncExitStack() as stack:
            net = LocalNetwork(devnet, facts, stack)
            net.http = await stack.enter_async_context(aiohttp.ClientSession())
            yield net
    finally:
        settings.CRN_LIST_URL, settings.ALEPH_AGGREGATE_ADDRESS = before
        await devnet.stop()


def rehashed(message: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A message whose content was changed after signing, with its hash made right again."""
    item_content = json.dumps({**json.loads(message["item_content"]), **changes}, separators=(",", ":"))
    item_hash = hashlib.sha256(item_content.encode()).hexdigest()
    return {**message, "item_content": item_content, "item_hash": item_hash}
