"""Scenarios: what the network charges and asks, how long the balance lasts, and an owner who changes the limits."""

import asyncio
import signal

from crash.lives import gone, rented
from crash.scenario import scenario
from crash.tenant import PATIENCE_S, POLL_S, Tenant

TAKEN = 5
"""Units, of the dozen that some seconds cost."""
LASTS_UNITS = 10_000
"""Less than an hour of one VM."""


def told(tenant: Tenant, kind: str) -> bool:
    """Whether there is an event of a kind."""
    return bool(tenant.read("SELECT id FROM events WHERE kind = ?", kind))


def booked(tenant: Tenant) -> int:
    """What the ledger says was spent."""
    return sum(row["units"] for row in tenant.read("SELECT units FROM ledger WHERE account = 'spent'"))


@scenario("reckon", SWEEP_INTERVAL_S="1")
async def reckon_what_is_charged_late(tenant: Tenant) -> None:
    """The network charges more than was settled: the difference is booked, once."""
    await rented(tenant)
    await asyncio.sleep(TAKEN / 2)
    await tenant.destroy()
    await gone(tenant)
    await tenant.kill()
    before = booked(tenant)
    tenant.sql("UPDATE ledger SET units = units / 2 WHERE account = 'spent'")
    async with tenant.act():
        await tenant.until(lambda: told(tenant, "late_expense"), "the difference to be booked")
        await _compared(tenant)
    assert booked(tenant) <= before, "more is booked than was charged"


async def _compared(tenant: Tenant) -> None:
    """Wait until this life of the daemon has compared its books with the network's."""
    async with asyncio.timeout(PATIENCE_S):
        while not (await tenant.control("status"))["expenses"]["at"]:
            await asyncio.sleep(POLL_S)


@scenario("reckon", hasty=True)
async def reckon_what_became_dearer(tenant: Tenant) -> None:
    """The reservation follows, and is more than the owner's limit by now: everything is frozen."""
    await rented(tenant)
    await tenant.kill()
    tenant.sql("UPDATE vms SET rate = rate / 2")
    tenant.sql("UPDATE ledger SET units = units / 2 WHERE account = 'reserved'")
    tenant.daemon.environment["ALEPH_AGENT_MAX_DAILY_SPEND"] = "1 cr"
    async with tenant.act():
        await tenant.until(lambda: told(tenant, "repriced"), "the new rate")
        await tenant.until(lambda: tenant.read("SELECT n FROM freezes"), "the freeze")


@scenario("reckon", hasty=True, TEARDOWN_BELOW_RUNWAY_MINUTES="60")
async def reckon_with_an_empty_purse(tenant: Tenant) -> None:
    """The VM whose lease ends first goes, and then the owner is asked, who pays."""
    await rented(tenant)
    await rented(tenant, "other", hours=2.0)
    units = tenant.net.state()["balances"][tenant.daemon.address]
    tenant.net.credits(LASTS_UNITS - units, address=tenant.daemon.address)
    async with tenant.act():
        await tenant.until(lambda: told(tenant, "low_balance"), "that to be told")
        await gone(tenant)
        await _halted(tenant)
        tenant.net.credits(units, address=tenant.daemon.address)
        await tenant.until(lambda: told(tenant, "balance_lasts"), "the balance to be seen")
    assert tenant.is_("running", "other"), "more than half of the VMs were ended"


async def _halted(tenant: Tenant) -> None:
    """Wait until it ends nothing more by itself."""
    async with asyncio.timeout(PATIENCE_S):
        while not (await tenant.control("status"))["runway"]["halted"]:
            await asyncio.sleep(POLL_S)


@scenario("policy")
async def policy_that_is_read_again(tenant: Tenant) -> None:
    """Nothing depends on whether that is told."""
    await tenant.alive()
    async with tenant.act():
        while not told(tenant, "policy"):
            await tenant.alive()
            tenant.daemon.send(signal.SIGHUP)
            await asyncio.sleep(POLL_S)
        await tenant.create()
