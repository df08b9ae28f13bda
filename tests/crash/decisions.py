"""Scenarios: what only the owner decides, and what becomes of a yes, of a no, and of neither."""

import asyncio
from contextlib import suppress

from aleph_agentd.domain.errors import Refusal
from crash import forgery
from crash.lives import published, rented
from crash.scenario import scenario
from crash.tenant import Tenant
from support.owner import SECRET

THRESHOLD, BIG_HOURS = "8 cr", 8.0
"""The worst case of one hour is 2.1 credits, of eight hours 12.1."""
DECIDED = "not_waiting"
"""The code with which a decision is refused that was made before the daemon died."""


async def owner_known(tenant: Tenant) -> None:
    """There is a passphrase, whether it was set before the daemon died or not."""
    await tenant.control("passphrase.set", passphrase=SECRET, old_passphrase=SECRET)


async def asked(tenant: Tenant, name: str = "box") -> str:
    """The id of a request for a VM above the threshold: the same one however often it is asked."""
    answer = await tenant.create(name, BIG_HOURS)
    assert answer is not None and answer["status"] == "awaiting_approval", answer
    return str(answer["approval_id"])


async def approve(tenant: Tenant, approval_id: str) -> None:
    """The owner says yes, once."""
    try:
        await tenant.control("approvals.approve", id=approval_id, passphrase=SECRET)
    except Refusal as why:
        assert tenant.has_died and why.code == DECIDED, why


async def deny(tenant: Tenant, approval_id: str) -> None:
    """The owner says no, once."""
    try:
        await tenant.control("approvals.deny", id=approval_id)
    except Refusal as why:
        assert tenant.has_died and why.code == DECIDED, why


def state_of(tenant: Tenant, approval_id: str) -> str:
    """What is written of a request."""
    return str(tenant.read("SELECT state FROM approvals WHERE id = ?", approval_id)[0]["state"])


def born(tenant: Tenant) -> int:
    """How many VMs came of it all."""
    return sum(row["state"] != "failed" for row in tenant.rows())


@scenario("approve", everywhere=True, HUMAN_APPROVAL_THRESHOLD=THRESHOLD)
async def approve_a_vm(tenant: Tenant) -> None:
    """A yes is carried out by the daemon, once; whoever waits for it gets the VM."""
    await tenant.alive()
    async with tenant.act():
        await owner_known(tenant)
        approval_id = await asked(tenant)
        await approve(tenant, approval_id)
        await tenant.until(lambda: state_of(tenant, approval_id) == "used", "the yes to be carried out")
        await tenant.call("aleph_wait_vm", item_hash=approval_id, timeout_s=30)
    assert born(tenant) == 1, "one yes is one VM"


@scenario("approve", everywhere=True, HUMAN_APPROVAL_THRESHOLD=THRESHOLD)
async def approve_an_extension(tenant: Tenant) -> None:
    """The lease becomes longer once."""
    item_hash = await rented(tenant)
    await owner_known(tenant)
    async with tenant.act():
        answer = await tenant.call("aleph_extend_vm", item_hash=item_hash, additional_hours=BIG_HOURS)
        await approve(tenant, answer["approval_id"])
        await tenant.until(lambda: published(tenant), "the extension to be published")
    assert (tenant.row() or {})["lease_version"] == 2, "one yes is one extension"


@scenario("approve", everywhere=True)
async def approve_the_adoption_of_an_orphan(tenant: Tenant) -> None:
    """One with a GPU, whose price the network is asked for; it becomes the session's VM once, and ends with it."""
    await rented(tenant)
    await owner_known(tenant)
    size = {"vcpus": 3, "memory": 3 * 6144, "seconds": 30}
    gpu = [{"vendor": "NVIDIA", "device_name": "AD104GL", "device_class": "0300", "device_id": "10de:27b0"}]
    wanted = {"node": {"node_hash": tenant.net.crns[0]["hash"]}, "gpu": gpu}
    item_hash = forgery.instance(tenant, metadata={}, resources=size, requirements=wanted)
    await asyncio.sleep(1.1)  # the grace for orphans
    async with tenant.act():
        await tenant.control("sweep.run")
        answer = await tenant.call("aleph_adopt_vm", item_hash=item_hash, ttl_hours=1)
        if approval_id := answer["approval_id"]:
            await approve(tenant, approval_id)
            await tenant.until(lambda: state_of(tenant, approval_id) == "used", "the yes to be carried out")
    adopted = [row for row in tenant.rows() if row["item_hash"] == item_hash]
    reserved = tenant.read("SELECT units FROM ledger WHERE item_hash = ? AND account = 'reserved'", item_hash)
    assert len(adopted) == 1 and len(reserved) == 1, "one yes is one row, and one reservation"
    assert reserved[0]["units"] >= 3 * 43_125, "a GPU VM costs more than a plain one"


@scenario("approve", HUMAN_APPROVAL_THRESHOLD=THRESHOLD)
async def approve_what_is_frozen(tenant: Tenant) -> None:
    """It cannot be carried out, which is told; once the freeze is lifted, the yes still holds."""
    await tenant.alive()
    await owner_known(tenant)
    approval_id = await asked(tenant)
    await tenant.control("freeze", reason="a smell")
    async with tenant.act():
        await approve(tenant, approval_id)
        with suppress(Refusal):
            await tenant.create(hours=BIG_HOURS)  # its job may have died with the daemon: this is another one
        await tenant.until(lambda: told(tenant, approval_id), "the refusal to be told")
        await tenant.control("unfreeze", passphrase=SECRET)
        await tenant.create(hours=BIG_HOURS)
    assert born(tenant) == 1, "one yes is one VM"


def told(tenant: Tenant, approval_id: str) -> bool:
    """Whether it says why a yes could not be carried out."""
    return bool(tenant.read("SELECT id FROM approvals WHERE id = ? AND outcome != ''", approval_id))


@scenario("approve", hasty=True, HUMAN_APPROVAL_THRESHOLD=THRESHOLD)
async def approve_nothing_in_time(tenant: Tenant) -> None:
    """Half an hour later it is over."""
    await tenant.alive()
    approval_id = await asked(tenant)
    await tenant.kill()
    tenant.sql("UPDATE approvals SET expires_at = asked_at")
    async with tenant.act():
        await tenant.until(lambda: state_of(tenant, approval_id) == "expired", "the request to expire")


@scenario("approve", HUMAN_APPROVAL_THRESHOLD=THRESHOLD)
async def deny_three_times(tenant: Tenant) -> None:
    """That often is a sign of trouble: everything is frozen, until the owner lifts it."""
    await tenant.alive()
    await owner_known(tenant)
    requests = [await asked(tenant, f"box-{number}") for number in range(3)]
    async with tenant.act():
        for approval_id in requests:
            await deny(tenant, approval_id)
        assert tenant.has_died or tenant.read("SELECT n FROM freezes"), "nothing is frozen"
        await tenant.control("unfreeze", passphrase=SECRET)
        await tenant.create()
    assert born(tenant) <= 1, "something was created that was denied"
