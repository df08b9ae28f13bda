"""Which CRN gets a VM. Pure: the caller brings the list, the wish and the dice."""

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from .errors import NotFound, Unavailable
from .model import Crn

_BEST_OF = 3
_MIN_HASH_PREFIX = 8


@dataclass(frozen=True)
class Need:
    """What a VM needs of its host."""

    vcpus: int
    memory_mib: int
    disk_mib: int
    gpu: bool = False


@dataclass(frozen=True)
class Choice:
    """A CRN and why it was taken."""

    crn: Crn
    why: str


def fits(crn: Crn, need: Need) -> str:
    """Why this CRN cannot host it; empty when it can, as far as its own list entry tells."""
    checks = (
        (crn.active, "is not active"),
        (crn.qemu, "does not run instances"),
        (crn.ipv6, "has no working IPv6"),
        (crn.cpu_count >= need.vcpus, f"has {crn.cpu_count} CPUs"),
        (crn.free_memory_mib >= need.memory_mib, f"has {crn.free_memory_mib} MiB of memory free"),
        (crn.free_disk_mib >= need.disk_mib, f"has {crn.free_disk_mib} MiB of disk free"),
        (not need.gpu or crn.has_gpu, "has no GPU"),
    )
    return next((why for ok, why in checks if not ok), "")


def rank(crns: Iterable[Crn], need: Need) -> list[Crn]:
    """The CRNs that can host it, best first: by score, then by free memory."""
    able = [crn for crn in crns if not fits(crn, need)]
    return sorted(able, key=lambda crn: (-crn.score, -crn.free_memory_mib, crn.hash))


def named(crns: Sequence[Crn], wanted: str) -> Crn:
    """The CRN with this hash, URL, name, or unique prefix of a hash or name."""
    text = wanted.strip().rstrip("/").lower()
    exact = [c for c in crns if text in (c.hash.lower(), c.url.rstrip("/").lower(), c.name.lower())]
    loose = [
        c
        for c in crns
        if c.name.lower().startswith(text)
        or (len(text) >= _MIN_HASH_PREFIX and c.hash.lower().startswith(text))
    ]
    found = exact or loose
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFound(
            f"There is no CRN {wanted[:80]!r} on the network's list.",
            "Call aleph_list_crns for names and hashes, or leave crn_hash out.",
        )
    names = ", ".join(f"{c.name} ({c.hash[:12]})" for c in found[:5])
    raise NotFound(
        f"{wanted[:80]!r} fits {len(found)} CRNs: {names}.", "Give the full hash of the one you mean."
    )


def choose(
    crns: Sequence[Crn],
    need: Need,
    *,
    wanted: str = "",
    allowed: Collection[str] | None = None,
    avoid: Collection[str] = (),
    dice: random.Random,
) -> Choice:
    """The wanted CRN if it can host the VM; else one of the best three at random, so that load spreads.

    CRNs that require terms and conditions are taken only when they are named.
    """
    if wanted:
        crn = named(crns, wanted)
        if why := fits(crn, need):
            raise Unavailable(
                f"CRN {crn.name} {why}, so it cannot host this VM.",
                "Leave crn_hash out, or choose from aleph_list_crns.",
            )
        return Choice(crn, f"you named {crn.name}")
    ranked = [
        crn
        for crn in rank(crns, need)
        if crn.hash not in avoid and not crn.terms_and_conditions and (allowed is None or crn.hash in allowed)
    ]
    if not ranked:
        raise Unavailable(
            f"None of the {len(crns)} CRNs on the list can host {need.vcpus} vCPU with {need.memory_mib} MiB"
            + (" and a GPU." if need.gpu else ".")
            + (f" {len(avoid)} were tried already." if avoid else ""),
            "Ask for fewer compute units, or try again in a minute.",
        )
    crn = dice.choice(ranked[:_BEST_OF])
    return Choice(
        crn,
        f"score {crn.score:.2f}, {crn.free_memory_mib // 1024} GiB free; one of the best {min(_BEST_OF, len(ranked))} of {len(ranked)}",
    )
