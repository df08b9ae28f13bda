"""What the composition root opens first: the inventory, and the network's part of the settings."""

import logging
from contextlib import AsyncExitStack
from datetime import timedelta

from .adapters.aleph.settings import NetworkSettings
from .adapters.config import Settings
from .adapters.installation import only_one
from .adapters.store import Defaults, SqlInventory, sqlite_url
from .domain.clock import SystemClock

log = logging.getLogger(__name__)


async def open_inventory(settings: Settings, stack: AsyncExitStack) -> SqlInventory:
    """The inventory, for this process alone, with what a predecessor has left. Raises Taken or StoreTrouble."""
    directory = settings.database_path.parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stack.enter_context(only_one(directory, "inventory", str(settings.database_path)))
    inventory = await SqlInventory.open(settings.database_url or sqlite_url(settings.database_path))
    stack.push_async_callback(inventory.close)
    defaults = Defaults(
        SystemClock().now(), timedelta(hours=settings.max_ttl_hours), settings.human_address or ""
    )
    taken = await inventory.import_predecessor(settings.predecessor_path, defaults)
    if taken:
        log.info("took over %d VMs from %s", len(taken.vms), settings.predecessor_path)
        for problem in taken.problems:
            log.warning("%s: %s", settings.predecessor_path, problem)
    return inventory


def network_settings(settings: Settings, key_address: str = "") -> NetworkSettings:
    """The network adapter's part of the settings."""
    return NetworkSettings(
        key_path=settings.private_key_path,
        key_address=key_address,
        api_hosts=settings.api_hosts,
        crn_list_url=settings.crn_list_url,
        aggregate_address=settings.aggregate_address,
        os_images=settings.os_images,
        allow_local=settings.allow_local,
    )
