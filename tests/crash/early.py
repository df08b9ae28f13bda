"""Scenario: a VM that is idle is saved and ended before its lease is over."""

from crash.lives import gone, rented
from crash.scenario import scenario
from crash.tenant import Tenant

TWO_SECONDS = 0.03
"""Minutes: no tool takes so few."""


@scenario("early", hasty=True)
async def idle_ends_early(tenant: Tenant) -> None:
    """Looks over SSH, what is to be saved, and the end: whoever dies in between looks anew."""
    await rented(tenant)
    await tenant.kill()
    tenant.sql("UPDATE vms SET idle_minutes = ?, save_paths = '/etc/hostname'", TWO_SECONDS)
    async with tenant.act():
        await tenant.alive()
        await gone(tenant)
