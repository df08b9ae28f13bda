"""VMs with a GPU: their sizes and prices go by the model. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from .compute_units import DISK_MIB, MEMORY_MIB
from .crn import Crn, Gpu

ANY = "any"
GPU_MEMORY_MIB = 6144
GPU_DISK_MIB = 61_440


@dataclass(frozen=True)
class GpuTier:
    """How the network sells one model: the size that comes with it, and what the whole costs."""

    model: str
    compute_units: int
    rate: Decimal
    """Units per second."""


Tiers = Mapping[str, GpuTier]
"""By model, in lower case."""


@dataclass(frozen=True)
class Size:
    """What a VM has."""

    compute_units: int
    vcpus: int
    memory_mib: int
    disk_mib: int


def dearest_unit(tiers: Tiers, plain: Decimal) -> Decimal:
    """What one compute unit of a GPU VM costs at most per second, where nobody says which model it has."""
    return max((tier.rate / tier.compute_units for tier in tiers.values()), default=plain)


def plain_size(units: int) -> Size:
    """A VM without a GPU."""
    return Size(units, units, units * MEMORY_MIB, units * DISK_MIB)


def gpu_size(tier: GpuTier) -> Size:
    """A VM with a GPU; its compute units are larger."""
    units = tier.compute_units
    return Size(units, units, units * GPU_MEMORY_MIB, units * GPU_DISK_MIB)


def wanted_tiers(wanted: str, tiers: Tiers) -> Tiers:
    """The models that a wish names: any, exactly this one, or those with it in their name."""
    text = wanted.strip().lower()
    if text == ANY:
        return tiers
    if text in tiers:
        return {text: tiers[text]}
    return {model: tier for model, tier in tiers.items() if text in model}


def offer(crn: Crn, wanted: str, tiers: Tiers) -> tuple[Gpu, GpuTier] | None:
    """The cheapest free GPU of a CRN that was asked for and has a price."""
    named = wanted_tiers(wanted, tiers)
    found = [(gpu, named[gpu.model.lower()]) for gpu in crn.gpus if gpu.model.lower() in named]
    return min(found, key=lambda pair: (pair[1].rate, pair[0].model, pair[0].device_id), default=None)
