"""Scenarios: ports of a VM are opened and closed, by this daemon or not at all."""

import json
import urllib.error
import urllib.request
from contextlib import suppress

from aleph_message.models import MessageType

from aleph_agentd.domain.errors import Refusal
from crash.grants import payer
from crash.lives import rented
from crash.scenario import scenario
from crash.tenant import Tenant


@scenario("confirm", hasty=True)
async def open_ports(tenant: Tenant) -> None:
    """A port is opened and closed, another one is open when the VM ends: it is taken out of the aggregate."""
    await rented(tenant)
    async with tenant.act():
        for action, port in (("open", 80), ("open", 81), ("close", 80), ("close", 80)):
            with suppress(Refusal):  # it may have taken effect, and is read anew by the next one
                await tenant.call("aleph_vm_ports", item_hash="box", action=action, port=port)
        with suppress(Refusal):
            await tenant.call("aleph_vm_ports", item_hash="box", action="list")
        await tenant.destroy()
        await tenant.until(lambda: not _left_open(tenant), "what is open to be closed")


def _left_open(tenant: Tenant) -> list[str]:
    url = f"{tenant.net.api_host}/api/v0/aggregates/{tenant.daemon.address}.json?keys=port-forwarding"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            data = json.loads(answer.read())["data"]
    except urllib.error.HTTPError:
        return []
    ours = {row["item_hash"] for row in tenant.rows()}
    return [item for item, entry in data["port-forwarding"].items() if entry is not None and item in ours]


@scenario("confirm", hasty=True)
async def ports_refused(tenant: Tenant) -> None:
    """Somebody else pays and grants no aggregate: nothing is opened, and that is told."""
    async with payer(tenant) as human:
        await human.grant(MessageType.instance, MessageType.forget)
        await rented(tenant)
        async with tenant.act():
            with suppress(Refusal):
                await tenant.call("aleph_vm_ports", item_hash="box", action="open", port=80)
