"""The SDK is imported late, and shielded from whatever lies about."""

import os
import subprocess
import sys
from pathlib import Path

from aleph_agentd.adapters.aleph.settings import OS_IMAGES
from aleph_agentd.adapters.aleph.stamps import TAG
from aleph_agentd.domain.delegation import CHANNEL

_IMPORT_ALL = """
import importlib, pkgutil, sys
import aleph_agentd.adapters.aleph as door
for module in pkgutil.iter_modules(door.__path__):
    if module.name != "session":
        importlib.import_module(f"{door.__name__}.{module.name}")
heavy = {"aleph", "aleph_message", "eth_account", "web3", "aiohttp", "pydantic"}
print(*sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""

_LOAD = """
import asyncio, os, sys
from pathlib import Path
from aleph_agentd.adapters.aleph.sdk import Sdk
from aleph_agentd.adapters.aleph.settings import NetworkSettings
network = NetworkSettings(
    key_path=Path("/none"), api_hosts=("http://127.0.0.9:1",), crn_list_url="http://127.0.0.9:2/crns.json",
    aggregate_address="0xours", allow_local=True,
)
asyncio.run(Sdk(network).loaded())
from aleph.sdk.conf import settings
print(settings.API_HOST, settings.CRN_LIST_URL, settings.ALEPH_AGGREGATE_ADDRESS, settings.SCHEDULER_URL)
print(settings.PRIVATE_KEY_STRING, settings.ADDRESS_TO_USE, settings.MAX_INLINE_SIZE, os.getcwd())
print(os.environ["ALEPH_AGENT_KEPT"], "ALEPH_API_HOST" in os.environ, "web3" in sys.modules)
"""


def _python(code: str, cwd: Path | None = None, **env: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip().splitlines()


def test_importing_the_adapters_does_not_import_the_sdk() -> None:
    """The daemon reports READY first; the import costs seconds."""
    assert _python(_IMPORT_ALL) in ([], [""])


def test_neither_a_dotenv_nor_the_environment_can_replace_our_network(tmp_path: Path) -> None:
    """Whoever starts the daemon in a hostile directory must not send its messages elsewhere."""
    evil = "ALEPH_API_HOST=http://evil.example\nALEPH_PRIVATE_KEY_STRING=11\nALEPH_MAX_INLINE_SIZE=1\n"
    (tmp_path / ".env").write_text(evil)
    lines = _python(
        _LOAD,
        tmp_path,
        ALEPH_API_HOST="http://evil.example",
        aleph_max_inline_size="2",
        ALEPH_ADDRESS_TO_USE="0xevil",
        ALEPH_AGENT_KEPT="kept",
    )
    assert lines == [
        "http://127.0.0.9:1 http://127.0.0.9:2/crns.json 0xours http://127.0.0.9:1/",
        "None None 50000 /",
        "kept False False",
    ]


def test_our_copies_of_the_sdks_constants_are_still_right() -> None:
    """They are repeated because importing the SDK for them takes seconds."""
    from aleph.sdk.conf import settings

    assert OS_IMAGES == {
        "ubuntu22": settings.UBUNTU_22_QEMU_ROOTFS_ID,
        "ubuntu24": settings.UBUNTU_24_QEMU_ROOTFS_ID,
        "debian12": settings.DEBIAN_12_QEMU_ROOTFS_ID,
    }
    assert settings.DEFAULT_CHANNEL == CHANNEL
    assert TAG == "aleph-agentd"
