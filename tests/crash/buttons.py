"""Scenarios: the owner's buttons, freeze and panic."""

import asyncio

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.control_freeze import CONFIRMATION
from crash import forgery
from crash.decisions import owner_known
from crash.lives import gone, rented
from crash.scenario import scenario
from crash.tenant import Tenant
from support.owner import SECRET


@scenario("freeze", everywhere=True)
async def freeze_and_unfreeze(tenant: Tenant) -> None:
    """What is frozen stays so over a death, and what is lifted, too."""
    await tenant.alive()
    async with tenant.act():
        await owner_known(tenant)
        await tenant.control("freeze", reason="a smell")
        await _refused(tenant)
        await tenant.restart()
        await _refused(tenant)
        await tenant.control("unfreeze", passphrase=SECRET)
        await tenant.create()


async def _refused(tenant: Tenant) -> None:
    try:
        await tenant.create()
    except Refusal as why:
        assert why.code == "frozen", why
    else:
        assert not tenant.rows(), "something was created although everything is frozen"


@scenario("panic", everywhere=True)
async def panic_ends_everything(tenant: Tenant) -> None:
    """A VM with a row, one without, and one that was over and is on the network again."""
    await rented(tenant)
    stranger = forgery.instance(tenant, metadata={})
    undead = await rented(tenant, "undead")
    await tenant.call("aleph_destroy_vm", item_hash=undead)
    await gone(tenant, "undead")
    tenant.net.set_status(undead, "processed")
    async with tenant.act():
        await tenant.control("panic", confirm=CONFIRMATION)
        while not (await tenant.control("panic.status"))["done"]:
            await asyncio.sleep(0.1)
        assert not tenant.daemon.live_instances(), "the panic is done, and something is billed"
        await tenant.until(
            lambda: all(row["state"] == "gone" for row in tenant.rows()), "every row to be closed"
        )
    assert any(row["item_hash"] == stranger for row in tenant.rows())
