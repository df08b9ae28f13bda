"""Scenarios: the life of a VM as its owner wants it, and what its hosts and its network do to that."""

import asyncio
import resource
from contextlib import suppress

from aleph_agentd.domain.errors import Refusal
from crash import forgery
from crash.scenario import scenario
from crash.tenant import LEASED, Tenant

POST, STATUS, ESTIMATE = "/api/v0/messages", "/api/v0/messages/*/status", "/api/v0/price/estimate"
NOTIFY, ERASE = "/control/allocation/notify", "/control/machine/*/erase"
AGGREGATE = "/api/v0/aggregates/*.json"
BUSY = {"status": 503, "body": "This CRN cannot host the requested instance at this time."}
SECONDS = 1 / 3600
SHORT = 7 * SECONDS


async def rented(tenant: Tenant, name: str = "box", hours: float = 1.0) -> str:
    """A running VM: what a scenario begins with."""
    answer = await tenant.create(name, hours)
    assert answer is not None and answer["status"] == "running", answer
    return str(answer["item_hash"])


async def gone(tenant: Tenant, name: str = "box") -> None:
    """Wait until a row is closed."""
    await tenant.until(lambda: tenant.is_("gone", name), f"{name} to be gone")


@scenario("create", everywhere=True)
async def create_and_wait(tenant: Tenant) -> None:
    """A VM is rented and waited for, until SSH answers."""
    async with tenant.act():
        await tenant.call("aleph_list_crns")
        if await tenant.create() and (row := tenant.row()):
            await tenant.call("aleph_wait_vm", item_hash=row["item_hash"], timeout_s=30)


@scenario("create", everywhere=True)
async def create_on_the_second_crn(tenant: Tenant) -> None:
    """The first CRN refuses."""
    await tenant.alive()
    tenant.net.fault(BUSY, method="POST", path=NOTIFY, count=1)
    async with tenant.act():
        await tenant.create()


@scenario("create")
async def create_that_is_rejected(tenant: Tenant) -> None:
    """The credits are gone when it is posted; half an hour later it is closed, and weeks later it comes to life."""
    await tenant.alive()
    units = tenant.net.state()["balances"][tenant.daemon.address]
    slow = tenant.net.fault({"latency_s": 0.5}, path=ESTIMATE, count=1)
    async with tenant.act():
        creating = asyncio.ensure_future(refused_create(tenant))
        await tenant.until(lambda: creating.done() or hits(tenant, slow["number"]), "the estimate")
        tenant.net.credits(-units, address=tenant.daemon.address)
        await creating
        await tenant.until(lambda: not tenant.rows(*LEASED) and noted(tenant), "the rejection to be noted")
        await tenant.ages(31, "unknown_since")
        await tenant.until(lambda: not tenant.rows("destroying"), "the row to be closed")
        await tenant.control("sweep.run")
        tenant.net.credits(units, address=tenant.daemon.address)
        for row in tenant.rows("failed"):
            tenant.net.replay(row["item_hash"])
        await tenant.control("sweep.run")
        await tenant.until(lambda: not tenant.rows("destroying"), "the undead to be ended")


async def refused_create(tenant: Tenant) -> None:
    """Ask for a VM that cannot be had."""
    with suppress(Refusal):
        await tenant.create()


def hits(tenant: Tenant, number: int) -> bool:
    """Whether this fault has struck."""
    return any(fault["number"] == number and fault["hits"] for fault in tenant.net.faults())


def noted(tenant: Tenant) -> bool:
    """Whether it is in the rows that the network does not know what is being ended."""
    return all(row["unknown_since"] for row in tenant.rows("destroying"))


@scenario("create")
async def create_that_never_arrives(tenant: Tenant) -> None:
    """Every POST is lost; the VM is destroyed while it is being created."""
    await tenant.alive()
    tenant.net.fault({"drop": "before"}, method="POST", path=POST)
    async with tenant.act():
        creating = asyncio.ensure_future(refused_create(tenant))
        await tenant.until(
            lambda: creating.done() or any(row["broadcast_at"] for row in tenant.rows()), "the broadcast"
        )
        await tenant.destroy()
        await creating
        await tenant.until(lambda: noted(tenant), "the network's word to be noted")
        await tenant.ages(31, "unknown_since")
        await tenant.until(lambda: not tenant.rows("destroying"), "the row to be closed")


@scenario("create")
async def create_that_is_asked_again(tenant: Tenant) -> None:
    """The daemon is killed over a lost broadcast; its next life waits until the request comes again."""
    await tenant.alive()
    tenant.net.fault({"drop": "before"}, method="POST", path=POST)
    arguments = {"name": "box", "ttl_hours": 1}
    first = asyncio.ensure_future(_unanswered(tenant, arguments))
    await tenant.until(lambda: any(row["broadcast_at"] for row in tenant.rows()), "the broadcast")
    await tenant.kill()
    await first
    tenant.net.clear_faults()
    async with tenant.act():
        await tenant.alive()
        await asyncio.sleep(1)  # it asks for the status meanwhile
        with suppress(Refusal):
            await tenant.call("aleph_create_vm", request_key="the same", **arguments)


async def _unanswered(tenant: Tenant, arguments: dict) -> None:
    with suppress(Refusal):
        await tenant.daemon.call("aleph_create_vm", arguments, "the same")


@scenario("confirm", everywhere=True, COST_THRESHOLD="0 cr")
async def confirm_a_quote(tenant: Tenant) -> None:
    """A price is shown and agreed to; a quote that died with the daemon is shown again."""
    async with tenant.act():
        answer = await tenant.create()
        for _ in range(3):
            if answer and answer["status"] == "quoted":
                answer = await tenant.create(confirmed=True)


@scenario("extend", everywhere=True)
async def extend_a_lease(tenant: Tenant) -> None:
    """An hour more, read back from the network."""
    item_hash = await rented(tenant)
    async with tenant.act():
        await tenant.call("aleph_extend_vm", item_hash=item_hash, additional_hours=1)
        await tenant.until(lambda: published(tenant), "the extension to be published")


@scenario("extend")
async def extend_unread(tenant: Tenant) -> None:
    """The extension cannot be read back at first, so it is signed anew."""
    item_hash = await rented(tenant)
    tenant.net.fault({"status": 404}, method="GET", path=AGGREGATE, count=5)
    async with tenant.act():
        await tenant.call("aleph_extend_vm", item_hash=item_hash, additional_hours=1)
        await tenant.until(lambda: published(tenant), "the extension to be published")


def published(tenant: Tenant) -> bool:
    """Whether an extension was read back from the network."""
    return bool(tenant.read("SELECT n FROM extensions WHERE confirmed_at IS NOT NULL"))


@scenario("destroy", everywhere=True)
async def destroy_a_vm(tenant: Tenant) -> None:
    """Forgotten, erased, gone."""
    await rented(tenant)
    async with tenant.act():
        await tenant.destroy()
        await gone(tenant)


@scenario("destroy")
async def destroy_and_look_again(tenant: Tenant) -> None:
    """Five minutes after its end it is looked up once more; then the network has it again, and it is ended again."""
    item_hash = await rented(tenant)
    await tenant.destroy()
    await gone(tenant)
    async with tenant.act():
        looked_at = None
        while not looked_at:  # a look that was cut is due again minutes later
            await tenant.ages(6, "ended_at")
            looked_at = await tenant.soon(lambda: (tenant.row() or {})["verified_at"])
    await tenant.kill()
    tenant.sql("UPDATE vms SET verified_at = NULL, due_at = 0")
    tenant.net.set_status(item_hash, "processed")
    async with tenant.act():
        await tenant.alive()
        await tenant.until(
            lambda: not tenant.daemon.live_instances() and tenant.is_("gone"), "its second end"
        )


@scenario("destroy")
async def destroy_with_a_burnt_forget(tenant: Tenant) -> None:
    """The first kill switch has no effect, the second one has."""
    item_hash = await rented(tenant)
    forgery.burn_first_forget(tenant, item_hash)
    async with tenant.act():
        await tenant.destroy()
        await tenant.until(lambda: tenant.row()["attempts"] or tenant.is_("gone"), "the failure to be noted")
        await tenant.restart()
        await gone(tenant)


@scenario("destroy")
async def destroy_without_a_forget(tenant: Tenant) -> None:
    """Every kill switch is burnt: fresh ones are signed."""
    await rented(tenant)
    await tenant.kill()
    tenant.sql("UPDATE forgets SET burnt_at = 1")
    await tenant.alive()
    async with tenant.act():
        await tenant.destroy()
        await gone(tenant)


@scenario("destroy")
async def destroy_that_is_not_believed(tenant: Tenant) -> None:
    """The network does not know the VM for a while, then its CRN says that it erased it and did not."""
    await rented(tenant)
    unknown = tenant.net.fault({"status": 404}, method="GET", path=STATUS)
    tenant.net.fault({"status": 200, "body": "Erased"}, method="POST", path=ERASE, count=1)
    async with tenant.act():
        await tenant.destroy()
        await tenant.until(lambda: noted(tenant), "the network's word to be noted")
        await tenant.until(lambda: hits(tenant, unknown["number"]), "the network to be asked")
        tenant.net.clear_faults()
        tenant.net.fault({"status": 200, "body": "Erased"}, method="POST", path=ERASE, count=1)
        await tenant.restart()
        await gone(tenant)


@scenario("destroy")
async def destroy_without_a_crn(tenant: Tenant) -> None:
    """The row names no CRN: whichever runs the VM stops it by itself within minutes."""
    await rented(tenant)
    await tenant.kill()
    tenant.sql("UPDATE vms SET crn_hash = '', crn_url = ''")
    await tenant.alive()
    async with tenant.act():
        await tenant.destroy()
        await tenant.until(lambda: (tenant.row() or {})["forgotten_at"], "the end of its billing")
        await tenant.until(lambda: _stopped_a_minute_later(tenant), "its CRN to stop it after three looks")
        tenant.net.set_clock(0)
        await tenant.ages(11, "forgotten_at")
        await gone(tenant)
    await tenant.ages(-11, "forgotten_at")


def _stopped_a_minute_later(tenant: Tenant) -> bool:
    tenant.net.advance(61)
    return not tenant.daemon.running()


@scenario("destroy")
async def destroy_while_the_disk_is_full(tenant: Tenant) -> None:
    """Nothing can be written; billing ends all the same, and the rows follow when there is room."""
    await rented(tenant)
    async with tenant.act():
        pid = tenant.pid
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
        await tenant.destroy()
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
        if tenant.has_died:
            await tenant.destroy()  # what could not be written died with the daemon
        await gone(tenant)


@scenario("expire", everywhere=True)
async def expire(tenant: Tenant) -> None:
    """A lease of some seconds ends, and nobody is connected."""
    await rented(tenant, hours=SHORT)
    async with tenant.act():
        await gone(tenant)


@scenario("expire")
async def expire_while_nobody_runs(tenant: Tenant) -> None:
    """A lease ends while the daemon is dead."""
    await rented(tenant, hours=SHORT)
    await tenant.kill()
    async with tenant.act():
        await asyncio.sleep(SHORT * 3600)
        await tenant.alive()
        await gone(tenant)
