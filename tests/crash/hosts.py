"""Scenarios: many VMs that end at once, and CRNs that do not answer when one ends on them."""

import asyncio
import json
import urllib.request
from contextlib import suppress
from typing import Any

from aleph_agentd.domain.errors import Refusal
from crash.lives import ERASE, STATUS, gone, rented
from crash.scenario import scenario
from crash.tenant import Tenant

LIST, MESSAGES = "/crns.json", "/api/v0/messages.json"
MANY = 6
"""More than the daemon asks about one by one, so that some have to wait for each other."""
SLOW_S = 0.3


async def end_together(tenant: Tenant, hashes: list[str]) -> None:
    """Destroy them all at once, on a CCN that takes its time, and see them gone."""

    async def end(item_hash: str) -> None:
        with suppress(Refusal):  # asked again after a death, it may be over
            arguments = {"item_hash": item_hash}
            await tenant.control("tools.call", name="aleph_destroy_vm", arguments=arguments)

    await asyncio.gather(*map(end, hashes))
    for number in range(len(hashes)):
        await gone(tenant, f"box-{number}")


async def rented_together(tenant: Tenant) -> list[str]:
    """Some VMs on a network that is slow from now on."""
    hashes = [await rented(tenant, f"box-{number}") for number in range(MANY)]
    tenant.net.fault({"latency_s": SLOW_S}, method="GET", path=STATUS)
    return hashes


@scenario("destroy")
async def destroy_many_at_once(tenant: Tenant) -> None:
    """What the network says of those that wait is asked together."""
    hashes = await rented_together(tenant)
    async with tenant.act():
        await end_together(tenant, hashes)


@scenario("destroy")
async def destroy_many_one_by_one(tenant: Tenant) -> None:
    """The network does not answer such a question: each is asked after by itself."""
    hashes = await rented_together(tenant)
    tenant.net.fault({"status": 500}, method="GET", path=MESSAGES)
    async with tenant.act():
        await end_together(tenant, hashes)


@scenario("destroy")
async def destroy_on_a_silent_crn(tenant: Tenant) -> None:
    """Its CRN does not answer; once it does, the VM is erased there at once."""
    await rented(tenant)
    tenant.net.fault({"drop": "before"}, method="POST", path=ERASE)
    async with tenant.act():
        await tenant.destroy()
        await tenant.until(
            lambda: tenant.has_died or "answers again" in tenant.daemon.log(), "the CRN to be asked"
        )
        tenant.net.clear_faults()
        await gone(tenant)


@scenario("destroy")
async def destroy_on_a_crn_that_left_the_list(tenant: Tenant) -> None:
    """Its CRN is silent and on no list any more; then it is back on both."""
    await rented(tenant)
    tenant.net.fault({"drop": "before"}, method="POST", path=ERASE)
    unlisted = {"status": 200, "body": await asyncio.to_thread(_list_without_its_crn, tenant)}
    tenant.net.fault(unlisted, path=LIST)
    await tenant.restart()  # the list is kept for a minute
    async with tenant.act():
        await tenant.destroy()
        await tenant.until(lambda: (tenant.row() or {})["host_lost_at"], "its CRN to be missed")
        tenant.net.clear_faults()
        tenant.net.fault({"drop": "before"}, method="POST", path=ERASE)
        await tenant.restart()
        await tenant.until(lambda: not (tenant.row() or {})["host_lost_at"], "its CRN to be back")
        tenant.net.clear_faults()
        await tenant.restart()
        await gone(tenant)


def _list_without_its_crn(tenant: Tenant) -> dict[str, Any]:
    with urllib.request.urlopen(tenant.net.crn_list_url, timeout=30) as answer:
        said = json.load(answer)
    lost = (tenant.row() or {})["crn_hash"]
    return {**said, "crns": [crn for crn in said["crns"] if crn["hash"] != lost]}
