"""Scenarios: what else is done with machines."""

from contextlib import suppress

from aleph_agentd.domain.errors import Refusal
from crash.lives import rented
from crash.scenario import scenario
from crash.tenant import Tenant

REINSTALL = "/control/machine/*/reinstall"


@scenario("confirm")
async def reboot(tenant: Tenant) -> None:
    """A running VM is restarted; its lease goes on, and nothing is paid for it."""
    await rented(tenant)
    async with tenant.act():
        with suppress(Refusal):  # it may have taken effect, and is busy
            await tenant.call("aleph_vm_power", item_hash="box", action="reboot")


@scenario("create")
async def create_with_a_gpu(tenant: Tenant) -> None:
    """Its price is another one; where no CRN has one, nothing is rented."""
    await tenant.alive()
    async with tenant.act():
        with suppress(Refusal):
            await tenant.create(gpu="any")


@scenario("confirm")
async def reinstall(tenant: Tenant) -> None:
    """A VM is reached by SSH for the first time, and gets a new disk with another host key."""
    vm = await rented(tenant)
    async with tenant.act():
        with suppress(Refusal):
            await tenant.call("aleph_vm_run", item_hash="box", command="echo hello")
        power = {"item_hash": vm, "action": "reinstall"}
        with suppress(Refusal):
            asked = await tenant.call("aleph_vm_power", **power)
            await tenant.call("aleph_vm_power", **power, token=asked["token"])


@scenario("confirm")
async def reinstall_refused(tenant: Tenant) -> None:
    """The disk stays the same, and so does what is known of it."""
    vm = await rented(tenant)
    tenant.net.fault({"status": 403}, method="POST", path=REINSTALL)
    async with tenant.act():
        power = {"item_hash": vm, "action": "reinstall"}
        with suppress(Refusal):
            asked = await tenant.call("aleph_vm_power", **power)
            await tenant.call("aleph_vm_power", **power, token=asked["token"])


@scenario("create")
async def create_with_a_setup(tenant: Tenant) -> None:
    """Its script runs at first contact, whoever dies meanwhile, and how it ended is told."""
    await tenant.alive()
    async with tenant.act():
        if await tenant.create(setup="echo x >> log; cat log") and (row := tenant.row()):
            vm = row["item_hash"]
            done = "SELECT 1 FROM guest_keys WHERE item_hash = ? AND setup_result IS NOT NULL"
            await tenant.until(lambda: tenant.read(done, vm), "the end of its setup")


@scenario("confirm")
async def read_logs(tenant: Tenant) -> None:
    """What a VM printed is asked of its CRN, and nothing is changed."""
    await rented(tenant)
    async with tenant.act():
        with suppress(Refusal):
            await tenant.call("aleph_vm_logs", item_hash="box")
