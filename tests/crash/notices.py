"""Scenario: what is written down so that the owner is told of it."""

import asyncio

from aleph_agentd.domain.notices import ENDS_SOON
from crash.lives import SECONDS, gone
from crash.money import told
from crash.scenario import scenario
from crash.tenant import Tenant

SHORT = 8 * SECONDS
"""Its last quarter is two looks of the hasty lookout."""
MOST_OF_A_DAY = 3.0
"""Hours of one VM: more than 80 % of the limit below."""


@scenario("notice", hasty=True, MAX_DAILY_SPEND="6 cr")
async def notices_are_written(tenant: Tenant) -> None:
    """A lease that ends soon, a budget that is nearly used up, and a test: nothing of it holds up a VM's life."""
    await tenant.alive()
    async with tenant.act():
        await tenant.create("box", SHORT)
        # Whoever dies in the last quarter may come back after it: then there is nothing to tell.
        await tenant.until(lambda: told(tenant, ENDS_SOON) or tenant.is_("gone"), "the notice, or the end")
        await gone(tenant)
        await tenant.create("big", MOST_OF_A_DAY)
        await tenant.control("notify.test")
        await asyncio.sleep(2.5)  # two looks; a life that begins above the limit has seen no crossing
