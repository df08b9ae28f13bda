"""One VM on a CRN's list of executions. Only our own entry is read: a neighbour's may have any shape."""

from typing import Any

from ...domain.forwards import SSH_PORT
from ...ports import Execution
from .checked import address, mapping
from .forwarding import mapped_ports


def find_execution(document: Any, item_hash: str, allow_local: bool) -> Execution | None:
    """Our VM in the list of either version; None: it is not on it. Raises ValueError when this is no list."""
    entry = mapping(document).get(item_hash)
    if entry is None:
        return None
    ours = mapping(entry)
    networking = ours.get("networking")
    net = networking if isinstance(networking, dict) else {}
    ports = mapped_ports(net.get("mapped_ports"))
    ssh = ports.pop(SSH_PORT, None)
    return Execution(
        # The old list has no such field: it holds only what runs.
        running=ours.get("running", True) is True,
        host_ipv4=address(net.get("host_ipv4"), 4, allow_local),
        ssh_port=ssh.host if ssh else 0,
        ipv6=address(net.get("ipv6_ip") or net.get("ipv6"), 6, allow_local),
        forwarded=ports,
    )
