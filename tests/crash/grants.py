"""Scenarios: somebody else pays, and may take back what it granted."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aleph.sdk.chains.ethereum import ETHAccount
from aleph.sdk.client import AuthenticatedAlephHttpClient
from aleph.sdk.types import Authorization
from aleph_message.models import MessageType

from crash.lives import rented
from crash.scenario import scenario
from crash.sweeps import swept
from crash.tenant import PATIENCE_S, POLL_S, Tenant
from support.daemon import RICH_UNITS

KINDS = [MessageType.instance, MessageType.forget, MessageType.aggregate]


class Payer:
    """The human whose credits are spent, with its own key."""

    def __init__(self, client: AuthenticatedAlephHttpClient, agent: str) -> None:
        self._client, self._agent = client, agent

    async def grant(self, *kinds: MessageType) -> None:
        """Let the daemon's key rent and end VMs, or send messages of these kinds only."""
        entry = Authorization(address=self._agent, types=list(kinds) or KINDS)
        await self._client.update_all_authorizations([entry])

    async def revoke(self) -> None:
        """Let it do nothing."""
        await self._client.revoke_all_authorizations(self._agent)


@asynccontextmanager
async def payer(tenant: Tenant) -> AsyncIterator[Payer]:
    """Make a human pay for a daemon that does not run yet: one of its own, as CRNs keep grants for two minutes."""
    net, daemon = tenant.net, tenant.daemon
    account = ETHAccount(private_key=secrets.token_bytes(32))
    daemon.environment["ALEPH_AGENT_HUMAN_ADDRESS"] = account.get_address()
    net.credits(RICH_UNITS, address=account.get_address())
    async with AuthenticatedAlephHttpClient(account, api_server=net.api_host) as client:
        human = Payer(client, daemon.address)
        await human.grant()
        yield human


def _told(tenant: Tenant, kind: str) -> bool:
    return bool(tenant.read("SELECT id FROM events WHERE kind = ?", kind))


@scenario("delegate")
async def delegate_and_revoke(tenant: Tenant) -> None:
    """What was revoked is told, and what could not be ended meanwhile ends once it is granted again."""
    async with payer(tenant) as human:
        await rented(tenant)
        async with tenant.act():
            await human.revoke()
            while not _told(tenant, "delegation_missing"):
                await swept(tenant)
                await asyncio.sleep(POLL_S)
            await tenant.destroy()
            await human.grant()
            # A life that never saw it missing does not tell that it is back; each sweep sees it.
            async with asyncio.timeout(PATIENCE_S):
                while not (tenant.is_("gone") and (tenant.has_died or _told(tenant, "delegation_restored"))):
                    await swept(tenant)
                    await asyncio.sleep(POLL_S)
