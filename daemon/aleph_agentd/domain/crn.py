"""Compute resource nodes, as their list describes them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """A GPU that a CRN says is free. The last four are what an INSTANCE asks for it with."""

    model: str
    vendor: str
    device_name: str
    device_class: str
    device_id: str


@dataclass(frozen=True)
class Crn:
    """A compute resource node, as its list describes it; every field is its owner's claim."""

    hash: str
    name: str
    url: str
    score: float
    version: str
    has_gpu: bool
    terms_and_conditions: str
    qemu: bool
    ipv6: bool
    active: bool
    cpu_count: int
    free_memory_mib: int
    free_disk_mib: int
    gpus: tuple[Gpu, ...] = ()
    """The free ones that the network sells."""
