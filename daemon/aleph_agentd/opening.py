"""What the composition root opens first: the inventory, and the network's part of the settings."""

import logging
import os
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from .adapters.aleph.settings import NetworkSettings
from .adapters.config import Settings
from .adapters.installation import only_one
from .adapters.secret_file import SecretTrouble, read_secret
from .adapters.store import Defaults, SqlInventory, server_url, sqlite_url
from .domain.clock import SystemClock
from .ports import StoreTrouble

log = logging.getLogger(__name__)

PASSWORD_CREDENTIAL = "aleph-agentd.database-password"  # noqa: S105 - its name


async def open_inventory(settings: Settings, stack: AsyncExitStack) -> SqlInventory:
    """The inventory, for this process alone, with what a predecessor has left. Raises Taken or StoreTrouble."""
    directory = settings.database_path.parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stack.enter_context(only_one(directory, "inventory", str(settings.database_path)))
    server = settings.database_url
    database = server_url(server, password_of(settings)) if server else sqlite_url(settings.database_path)
    inventory = await SqlInventory.open(database, alone=True)
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


def password_of(settings: Settings) -> str | None:
    """The password of a server's database, if it lies apart from its URL. Raises StoreTrouble."""
    path, credentials = settings.database_password_path, os.environ.get("CREDENTIALS_DIRECTORY")
    if path is None and not (credentials and (Path(credentials) / PASSWORD_CREDENTIAL).exists()):
        return None
    try:
        secret = read_secret(
            path, setting="database_password_path", credential=PASSWORD_CREDENTIAL, least=1, most=4096
        )
        return secret.decode()
    except SecretTrouble as trouble:
        raise StoreTrouble(f"the password of the inventory's database: {trouble}") from None
    except ValueError:
        raise StoreTrouble("the password of the inventory's database is not UTF-8") from None


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
