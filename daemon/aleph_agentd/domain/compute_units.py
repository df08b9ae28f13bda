"""The sizes that VMs come in. Source: the network's pricing aggregate; 1 CU = 1 vCPU, 2 GiB, 20 GiB."""

from .errors import BadInput

TIERS = (1, 2, 4, 6, 8, 12)
MEMORY_MIB = 2048
DISK_MIB = 20480


def check_tier(compute_units: int) -> int:
    """The number itself if the network sells it; else BadInput with the tiers."""
    if compute_units not in TIERS:
        raise BadInput(
            f"compute_units is {compute_units}; the network sells {', '.join(map(str, TIERS))}.",
            f"Use {min((t for t in TIERS if t > compute_units), default=TIERS[-1])}.",
        )
    return compute_units
