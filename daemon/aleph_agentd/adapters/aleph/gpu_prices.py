"""GPU prices out of the pricing aggregate: one tier per model."""

from typing import Any

from ...domain.gpu import GPU_DISK_MIB, GPU_MEMORY_MIB, GpuTier, Tiers
from ...domain.money import SECONDS_PER_HOUR
from .checked import clean, listing, mapping, number, whole

_ENTITIES = ("instance_gpu_standard", "instance_gpu_premium")
_UNIT = {"vcpus": 1, "memory_mib": GPU_MEMORY_MIB, "disk_mib": GPU_DISK_MIB}
_MOST_UNITS = 256


def gpu_tiers(pricing: dict[str, Any]) -> Tiers:
    """By model. What makes no sense, or counts in other compute units than ours, is not sold."""
    tiers: dict[str, GpuTier] = {}
    for entity in _ENTITIES:
        try:
            said = mapping(pricing[entity])
            if {name: mapping(said["compute_unit"]).get(name) for name in _UNIT} != _UNIT:
                continue
            hourly = number(said["price"]["compute_unit"]["credit"], at_least=1)
            for entry in listing(said["tiers"]):
                model = clean(entry["model"], 40)
                units = whole(entry["compute_units"], at_least=1, at_most=_MOST_UNITS)
                tiers.setdefault(model.lower(), GpuTier(model, units, hourly * units / SECONDS_PER_HOUR))
        except (ValueError, KeyError, TypeError):
            continue
    return tiers
