"""What things cost: the pricing and settings aggregates with the real numbers, and the rate of a VM.

Rates are integers, thousandths of a network unit per hour, so that charges add up exactly.
"""

from decimal import ROUND_CEILING, Decimal
from math import ceil
from typing import Any

MILLI = 1000
HOUR_S = 3600
DAY_S = 86_400

_CU = {"vcpus": 1, "disk_mib": 20_480, "memory_mib": 2_048}
_GPU_CU = {"vcpus": 1, "disk_mib": 61_440, "memory_mib": 6_144}
_STORAGE = {"payg": "0.000000977", "holding": "0.05", "credit": "0.18"}


def _tiers(sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    return [{"id": f"tier-{n}", "compute_units": size} for n, size in enumerate(sizes, 1)]


def _gpu_tiers(models: tuple[tuple[str, int, int], ...]) -> list[dict[str, Any]]:
    return [
        {"id": f"tier-{n}", "vram": vram, "model": model, "compute_units": size}
        for n, (model, size, vram) in enumerate(models, 1)
    ]


def _entity(payg: str, holding: str, credit: str, **rest: Any) -> dict[str, Any]:
    unit = {"payg": payg, "holding": holding, "credit": credit}
    return {"price": {"storage": _STORAGE, "compute_unit": unit}, "compute_unit": _CU, **rest}


PRICING: dict[str, Any] = {
    "program": _entity("0.011", "200", "14250", tiers=_tiers((1, 2, 4, 6, 8, 12))),
    "storage": {"price": {"storage": {"holding": "0.333333333", "credit": "0.18"}}},
    "instance": _entity("0.055", "1000", "14250", tiers=_tiers((1, 2, 4, 6, 8, 12))),
    "web3_hosting": {"price": {"fixed": 50, "storage": {"holding": "0.333333333"}}},
    "program_persistent": _entity("0.055", "1000", "14250", tiers=_tiers((1, 2, 4, 6, 8, 12))),
    "instance_confidential": _entity("0.11", "2000", "28500", tiers=_tiers((1, 2, 4, 6, 8, 12))),
    "instance_gpu_standard": _entity(
        "0.28",
        "5000",
        "43125",
        compute_unit=_GPU_CU,
        tiers=_gpu_tiers((("RTX 4000 ADA", 3, 20_480), ("RTX 3090", 4, 24_576), ("RTX 4090", 6, 24_576))),
    ),
    "instance_gpu_premium": _entity(
        "0.56",
        "10000",
        "86250",
        compute_unit=_GPU_CU,
        tiers=_gpu_tiers((("A100", 16, 81_920), ("H100", 24, 81_920), ("H200", 32, 144_384))),
    ),
}

GPU = {
    "name": "RTX 4000 ADA",
    "model": "RTX 4000 ADA",
    "vendor": "NVIDIA",
    "device_id": "10de:27b0",
}
PREMIUM_GPU = {"name": "H100", "model": "H100", "vendor": "NVIDIA", "device_id": "10de:2336"}

SETTINGS: dict[str, Any] = {
    "compatible_gpus": [GPU, PREMIUM_GPU],
    "last_crn_version": "1.7.2",
    "community_wallet_address": "0x5aBd3258C5492fD378EBC2e0017416E199e5Da56",
    "community_wallet_timestamp": 1_739_301_770,
}


def product_of(content: dict[str, Any]) -> str:
    """The pricing entity that an INSTANCE falls under."""
    if gpus := (content.get("requirements") or {}).get("gpu"):
        premium = any(gpu.get("device_id") == PREMIUM_GPU["device_id"] for gpu in gpus)
        return "instance_gpu_premium" if premium else "instance_gpu_standard"
    if (content.get("environment") or {}).get("trusted_execution"):
        return "instance_confidential"
    return "instance"


def compute_units(content: dict[str, Any], unit: dict[str, Any]) -> int:
    """How many compute units the VM counts for; sizes off the tiers are accepted."""
    resources = content["resources"]
    size: int = max(resources.get("vcpus", 1), ceil(resources.get("memory", 128) / unit["memory_mib"]))
    return size


def milli_rate(content: dict[str, Any], pricing: dict[str, Any]) -> int:
    """Thousandths of a unit per hour: compute units, and the disk beyond what they include."""
    entity = pricing[product_of(content)]
    size = compute_units(content, entity["compute_unit"])
    disk = content["rootfs"]["size_mib"] + sum(v.get("size_mib") or 0 for v in content.get("volumes") or [])
    extra = max(0, disk - size * entity["compute_unit"]["disk_mib"])
    hourly = size * Decimal(str(entity["price"]["compute_unit"]["credit"]))
    hourly += extra * Decimal(str(entity["price"]["storage"]["credit"]))
    return int((hourly * MILLI).to_integral_value(ROUND_CEILING))


def cost_units(rate_milli: int, milliseconds: int) -> int:
    """Whole units for a time at a rate, rounded up once."""
    return -(-rate_milli * max(0, milliseconds) // (MILLI * HOUR_S * 1000))


def per_second(rate_milli: int) -> str:
    """The rate as the nodes quote it: units per second, a decimal string."""
    return f"{Decimal(rate_milli) / MILLI / HOUR_S:.18f}".rstrip("0").rstrip(".") or "0"
