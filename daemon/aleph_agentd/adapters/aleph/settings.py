"""Where the network is, and how long we wait for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

OS_IMAGES = {
    "ubuntu22": "4a0f62da42f4478544616519e6f5d58adb1096e069b392b151d47c3609492d0c",
    "ubuntu24": "5330dcefe1857bcd97b7b7f24d1420a7d46232d53f27be280c8a7071d88bd84e",
    "debian12": "b6ff5c3a8205d1ca4c7c3369300eeafff498b558f71b851aa2114afd0a532717",
}
"""The SDK's rootfs hashes, repeated because importing it takes seconds; a test compares them."""


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """The longest that each kind of call may take, in seconds."""

    read_s: float = 10
    post_s: float = 45
    """A synchronous POST of a message answers within 30 s."""
    notify_s: float = 65
    """A CRN answers when the VM has booted, or after 60 s."""
    executions_s: float = 10
    erase_s: float = 20
    ports_s: float = 20
    console_s: float = 30
    ssh_s: float = 3


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """One network, and the key that signs on it."""

    key_path: Path
    """Absolute: the daemon's working directory is `/`."""
    key_address: str = ""
    """The address that the inventory was made with: another key signs nothing."""
    api_hosts: tuple[str, ...] = ("https://api2.aleph.im",)
    """CCNs. Reads fall over to the next one; posts go to the first that takes the connection."""
    crn_list_url: str = "https://crns-list.aleph.sh/crns.json"
    aggregate_address: str = "0xFba561a84A537fCaa567bb7A2257e7142701ae2A"
    """Owner of the pricing aggregate."""
    os_images: Mapping[str, str] = field(default_factory=dict)
    """More images, name to rootfs hash; they go before the built-in ones."""
    allow_local: bool = False
    """Accept http and addresses that are not public: only for a devnet or an explicit local network."""
    timeouts: Timeouts = field(default_factory=Timeouts)

    def images(self) -> dict[str, str]:
        """OS image names to rootfs hashes."""
        return OS_IMAGES | dict(self.os_images)
