"""The sizes that VMs come in. Source: the network's pricing aggregate; 1 CU = 1 vCPU, 2 GiB, 20 GiB."""

TIERS = (1, 2, 4, 6, 8, 12)
MEMORY_MIB = 2048
DISK_MIB = 20480


def check_tier(compute_units: int) -> int:
    """The number itself if the network sells it; ValueError with the tiers."""
    if compute_units not in TIERS:
        raise ValueError(f"the network sells {', '.join(map(str, TIERS))}; use {larger_tier(compute_units)}")
    return compute_units


def larger_tier(compute_units: int) -> int:
    """The smallest tier that is at least this large, or the largest of all."""
    return min((tier for tier in TIERS if tier >= compute_units), default=TIERS[-1])
