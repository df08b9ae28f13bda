"""One VM in a CRN's pool, and how the executions lists show it."""

from dataclasses import dataclass, field
from typing import Any

from aleph_devnet.clock import iso
from aleph_devnet.guest import Guest


@dataclass
class Vm:
    """A VM that was started here. `ports` maps guest ports to ports of the host."""

    item_hash: str
    number: int
    content: dict[str, Any]
    defined_at: float
    boots_at: float
    ports: dict[str, int] = field(default_factory=dict)
    flags: dict[str, dict[str, bool]] = field(default_factory=dict)
    started_at: float | None = None
    guest: Guest | None = None
    strikes: int = 0
    host_key: str = ""
    """The private half of its SSH host key: made at the first boot, and on its disk from then on."""

    @property
    def memory_mib(self) -> int:
        """What it takes of the host's memory."""
        return int(self.content["resources"].get("memory", 128))

    @property
    def gpus(self) -> list[str]:
        """The devices that it asks for."""
        wanted = (self.content.get("requirements") or {}).get("gpu") or []
        return [str(gpu.get("device_id")) for gpu in wanted]

    def saved(self) -> dict[str, Any]:
        """As a document for the store."""
        return {
            "in_pool": True,
            "number": self.number,
            "defined_at": self.defined_at,
            "ports": self.ports,
            "host_key": self.host_key,
        }

    def shown(self, host: str) -> dict[str, Any]:
        """An entry of `/v2/about/executions/list`. A real CRN shows no networking before the VM is up."""
        started = None if self.started_at is None else iso(self.started_at)
        return {
            "networking": self._networking(host) if self.ports else {},
            "status": {
                "defined_at": iso(self.defined_at),
                "preparing_at": iso(self.defined_at),
                "prepared_at": iso(self.defined_at),
                "starting_at": iso(self.defined_at),
                "started_at": started,
                "stopping_at": None,
                "stopped_at": None,
            },
            "running": self.started_at is not None,
        }

    def shown_v1(self) -> dict[str, Any]:
        """An entry of the old `/about/executions/list`, which knows no ports."""
        net = self._networking("")
        return {
            "networking": {"ipv4": net["ipv4_network"], "ipv6": net["ipv6_network"]} if self.ports else {}
        }

    def _networking(self, host: str) -> dict[str, Any]:
        subnet = f"172.16.{self.number % 250 + 3}"
        prefix = f"fd00:a1e9:{self.number >> 16:x}:{self.number & 0xFFFF:x}"
        ssh = {"tcp": True, "udp": False}  # whatever the aggregate says of it
        both = {"22": ssh} | self.flags | {"22": ssh}
        return {
            "ipv4_network": f"{subnet}.0/24",
            "ipv4_ip": f"{subnet}.2",
            "host_ipv4": host,
            "ipv6_network": f"{prefix}::/124",
            "ipv6_ip": f"{prefix}::1",
            "mapped_ports": {
                port: {"host": self.ports[port], **flags}
                for port, flags in both.items()
                if port in self.ports
            },
        }
