"""One VM on a CRN's list of executions. Only our own entry is read: a neighbour's may have any shape."""

from typing import Any

from ...ports import Execution
from .checked import address, mapping, whole

SSH = "22"


def find_execution(document: Any, item_hash: str, allow_local: bool) -> Execution | None:
    """Our VM in the list of either version; None: it is not on it. Raises ValueError when this is no list."""
    entry = mapping(document).get(item_hash)
    if entry is None:
        return None
    ours = mapping(entry)
    networking = ours.get("networking")
    net = networking if isinstance(networking, dict) else {}
    port = _ssh_port(net.get("mapped_ports"))
    return Execution(
        # The old list has no such field: it holds only what runs.
        running=ours.get("running", True) is True,
        host_ipv4=address(net.get("host_ipv4"), 4, allow_local),
        ssh_port=port,
        ipv6=address(net.get("ipv6_ip") or net.get("ipv6"), 6, allow_local),
    )


def _ssh_port(ports: Any) -> int:
    ssh = ports.get(SSH) if isinstance(ports, dict) else None
    try:
        return whole(ssh.get("host"), 1, 65535) if isinstance(ssh, dict) else 0
    except ValueError:
        return 0
