"""Ports of a VM that its CRN forwards, and what changes of them may be asked for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .errors import Conflict

SSH_PORT = 22
"""Always forwarded: never asked for, and never closed."""
MOST_PORTS = 16
"""Of one VM, besides SSH."""

Protocol = Literal["tcp", "udp"]


@dataclass(frozen=True)
class Protocols:
    """What of a port is forwarded."""

    tcp: bool = False
    udp: bool = False

    def __str__(self) -> str:
        return "+".join(name for name in ("tcp", "udp") if getattr(self, name))


Forwards = Mapping[int, Protocols]
"""By port of the VM. Without SSH, and without ports of which nothing is forwarded."""


@dataclass(frozen=True)
class Forwarded(Protocols):
    """A port as a CRN shows it: which one of its own leads to the VM's."""

    host: int = 0


@dataclass(frozen=True)
class Change:
    """One port of a VM, to be opened or closed."""

    opens: bool
    port: int
    protocol: Protocol

    def of(self, before: Forwards) -> dict[int, Protocols]:
        """What is forwarded after it. Raises Conflict when that is too much."""
        known = before.get(self.port, Protocols())
        tcp = self.opens if self.protocol == "tcp" else known.tcp
        udp = self.opens if self.protocol == "udp" else known.udp
        after = {**before, self.port: Protocols(tcp, udp)} if tcp or udp else dict(before)
        if not (tcp or udp):
            after.pop(self.port, None)
        if self.opens and len(after) > MOST_PORTS and len(after) > len(before):
            ports = ", ".join(map(str, sorted(before)))
            raise Conflict(
                f"{len(before)} ports of it are open already, and {MOST_PORTS} is the most: {ports}.",
                "Close one that is not needed (action=close).",
                code="too_many_ports",
            )
        return after


def check_forwards(forwards: Forwards) -> None:
    """Raises ValueError for what must not be asked of a CRN."""
    for port, protocols in forwards.items():
        if not 1 <= port <= 65535 or port == SSH_PORT:
            raise ValueError(f"not a port to be forwarded: {port}")
        if not (protocols.tcp or protocols.udp):
            raise ValueError(f"nothing of port {port} is to be forwarded")


def shows(shown: Mapping[int, Forwarded], wanted: Forwards) -> bool:
    """Whether a CRN forwards exactly this, besides SSH."""
    mapped = {
        port: Protocols(found.tcp, found.udp) for port, found in shown.items() if found.tcp or found.udp
    }
    return mapped == dict(wanted)
