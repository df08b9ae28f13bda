"""The lazy import of the SDK, shielded from the environment and pointed at our network.

Importing it costs 1-2 s, and reads `.env` and `ALEPH_*`: either could replace the API host.
"""

import asyncio
import os
import threading

from .account import open_account
from .settings import NetworkSettings

_import_lock = threading.Lock()
_ANY_SECRET = bytes(31) + b"\x01"


class Sdk:
    """The SDK for one network. Users of `aleph.*` await `loaded()`, then import inside their functions."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._settings = settings
        self._is_loaded = False

    async def loaded(self) -> None:
        """Return when the SDK is imported; the first time that happens in a thread."""
        if not self._is_loaded:
            await asyncio.to_thread(self._load)

    def _load(self) -> None:
        with _import_lock:
            _shield()
            _import()
            _point_at(self._settings)
            self._is_loaded = True


def _shield() -> None:
    os.chdir("/")
    for name in list(os.environ):
        # Upper case: the SDK reads its settings in any case.
        if name.upper().startswith("ALEPH_") and not name.upper().startswith("ALEPH_AGENT_"):
            del os.environ[name]


def _import() -> None:
    # First and by itself: the event loop may ask for our address, which needs this part of the SDK's tree.
    open_account(_ANY_SECRET)
    import aleph.sdk.client.authenticated_http
    import aleph.sdk.client.vm_client  # noqa: F401


def _point_at(network: NetworkSettings) -> None:
    from aleph.sdk.conf import Settings, settings

    settings.API_HOST = network.api_hosts[0]
    settings.CRN_LIST_URL = network.crn_list_url
    settings.ALEPH_AGGREGATE_ADDRESS = network.aggregate_address
    settings.ADDRESS_TO_USE = None
    if network.allow_local:
        # A local network has no scheduler; the real one must not hear of its VMs.
        Settings.SCHEDULER_URL = network.api_hosts[0].rstrip("/") + "/"
