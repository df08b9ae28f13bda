"""Who the CRNs are and what they have: the part of a network that stays the same in its directory."""

import secrets
from dataclasses import asdict, dataclass, field
from typing import Any

from aleph_devnet.pricing import GPU, PREMIUM_GPU
from aleph_devnet.state import Store

GIB_MIB = 1024
_NAMES = ("NtS9", "Keyed-1", "Vesta", "Oslo Tenant", "Ampere", "Quiet Fan")
_GPU_ENTRY = {
    **GPU,
    "device_name": "AD104GL [RTX 4000 SFF Ada Generation]",
    "device_class": "0300",
    "pci_host": "01:00.0",
    "compatible": True,
}
_PREMIUM_ENTRY = _GPU_ENTRY | PREMIUM_GPU | {"device_name": "GH100 [H100 PCIe]", "device_class": "0302"}


@dataclass
class Node:
    """One CRN's identity. `port` is chosen at its first start and kept, so that its URL stays."""

    number: int
    hash: str
    name: str
    owner: str
    host: str
    port: int = 0
    score: float = 0.0
    version: str = "1.7.2"
    memory_mib: int = 256 * GIB_MIB
    vcpus: int = 64
    disk_mib: int = 4000 * GIB_MIB
    terms: str = ""
    gpus: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where clients reach it; its host name is also its domain in signed operations."""
        return f"http://{self.host}:{self.port}"


def open_nodes(store: Store, count: int, memory_gib: int) -> list[Node]:
    """The network's CRNs: those of its last run, and new ones when more are asked for."""
    known = [Node(**body) for _, body in sorted(store.all("node"), key=lambda item: int(item[0]))]
    subnet = store.get("meta", "subnet")
    if subnet is None:
        # Every network has a subnet of its own in 127/8, so that two of them never share an address.
        subnet = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}"
        store.put("meta", "subnet", subnet)
    for number in range(len(known), count):
        known.append(_make(number, subnet, memory_gib))
        save_node(store, known[-1])
    return known[:count]


def save_node(store: Store, node: Node) -> None:
    """Write a node's identity."""
    store.put("node", str(node.number), asdict(node))


def _make(number: int, subnet: str, memory_gib: int) -> Node:
    name = _NAMES[number] if number < len(_NAMES) else f"node-{number}"
    node = Node(
        number=number,
        hash=secrets.token_hex(32),
        name=name,
        owner="0x" + secrets.token_hex(20),
        host=f"{subnet}.{number + 1}",
        score=round(0.985 - 0.043 * number % 0.9, 4),
        memory_mib=memory_gib * GIB_MIB,
    )
    if number == 1:
        node.version = "1.7.1"
    if number == 2:
        node.gpus = [_GPU_ENTRY]
    if number == 3:
        node.terms = secrets.token_hex(32)
    if number == 4:
        node.gpus = [_PREMIUM_ENTRY]
    return node
