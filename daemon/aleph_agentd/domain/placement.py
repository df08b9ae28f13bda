"""Which CRN gets a VM. Pure: the caller brings the list, the wish and the dice."""

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from .errors import Denied, NotFound, Unavailable
from .gpu import Size, Tiers, gpu_size, offer
from .model import Crn

_BEST_OF = 3
_MIN_HASH_PREFIX = 8
_PER_FAILURE = 0.1
"""What one failure that we saw lately takes off a score."""


@dataclass(frozen=True)
class Need:
    """What a VM needs of its host. With a GPU its size goes by the model."""

    vcpus: int
    memory_mib: int
    disk_mib: int
    gpu: str = ""
    """A model, or `any`."""
    tiers: Tiers = field(default_factory=dict)

    def on(self, crn: Crn) -> Size | None:
        """What it takes of this CRN; None when that has no such GPU free."""
        if not self.gpu:
            return Size(self.vcpus, self.vcpus, self.memory_mib, self.disk_mib)
        found = offer(crn, self.gpu, self.tiers)
        return gpu_size(found[1]) if found else None

    def price(self, crn: Crn) -> Decimal:
        """What tells its price on one CRN from that on another: the GPU; the rest costs the same everywhere."""
        found = offer(crn, self.gpu, self.tiers) if self.gpu else None
        return found[1].rate if found else Decimal(0)

    def __str__(self) -> str:
        """In words."""
        if self.gpu:
            return "a GPU" if self.gpu == "any" else f"the GPU {self.gpu[:40]}"
        return f"{self.vcpus} vCPU with {self.memory_mib} MiB"


@dataclass(frozen=True)
class Choice:
    """A CRN and why it was taken."""

    crn: Crn
    why: str


def fits(crn: Crn, need: Need) -> str:
    """Why this CRN cannot host it; empty when it can, as far as its own list entry tells."""
    size = need.on(crn)
    if size is None:
        return "has no GPU free" if need.gpu == "any" else f"has no GPU {need.gpu[:40]} free"
    checks = (
        (crn.active, "is not active"),
        (crn.qemu, "does not run instances"),
        (crn.ipv6, "has no working IPv6"),
        (crn.cpu_count >= size.vcpus, f"has {crn.cpu_count} CPUs"),
        (crn.free_memory_mib >= size.memory_mib, f"has {crn.free_memory_mib} MiB of memory free"),
        (crn.free_disk_mib >= size.disk_mib, f"has {crn.free_disk_mib} MiB of disk free"),
    )
    return next((why for ok, why in checks if not ok), "")


def rank(
    crns: Iterable[Crn], need: Need, failures: Mapping[str, int] | None = None, *, cheapest: bool = False
) -> list[Crn]:
    """The CRNs that can host it, best first: by score less what failed there lately, price, free memory.

    With `cheapest` the price goes first.
    """
    seen = failures or {}

    def key(crn: Crn) -> tuple[Decimal, float, Decimal, int, str]:
        price, score = need.price(crn), round(crn.score - _PER_FAILURE * seen.get(crn.hash, 0), 2)
        return (price if cheapest else Decimal(0), -score, price, -crn.free_memory_mib, crn.hash)

    return sorted((crn for crn in crns if not fits(crn, need)), key=key)


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
    failures: Mapping[str, int] | None = None,
    accept: Collection[str] = (),
    dice: random.Random,
) -> Choice:
    """The wanted CRN if it can host the VM; else one of the best three at random, so that load spreads.

    A CRN with terms and conditions is taken only if `accept` holds their hash. A GPU that need not be of
    one model is the cheapest there is: only CRNs with it are among the best.
    """
    if wanted:
        return Choice(_the_named(crns, need, wanted, accept), "you named it")
    ranked = [
        crn
        for crn in rank(crns, need, failures, cheapest=bool(need.gpu))
        if crn.hash not in avoid
        and (not crn.terms_and_conditions or crn.terms_and_conditions in accept)
        and (allowed is None or crn.hash in allowed)
    ]
    if not ranked:
        raise Unavailable(
            f"None of the {len(crns)} CRNs on the list can host {need}."
            + (f" {len(avoid)} were tried already." if avoid else ""),
            "aleph_list_crns shows what there is. Ask for less, or try again in a minute.",
        )
    best = [crn for crn in ranked if need.price(crn) == need.price(ranked[0])][:_BEST_OF]
    crn = dice.choice(best)
    return Choice(crn, _why(crn, need, len(best), len(ranked), (failures or {}).get(crn.hash, 0)))


def _the_named(crns: Sequence[Crn], need: Need, wanted: str, accept: Collection[str]) -> Crn:
    crn = named(crns, wanted)
    if why := fits(crn, need):
        raise Unavailable(
            f"CRN {crn.name} {why}, so it cannot host this VM.",
            "Leave crn_hash out, or choose from aleph_list_crns.",
        )
    if crn.terms_and_conditions and crn.terms_and_conditions not in accept:
        raise Denied(
            f"CRN {crn.name} has terms and conditions that are not accepted: document {crn.terms_and_conditions}.",
            f"Show that to the user; after a yes call again with accept_terms={crn.terms_and_conditions}. Or take another CRN.",
            code="terms_not_accepted",
            data={"terms_and_conditions": crn.terms_and_conditions},
        )
    return crn


def _why(crn: Crn, need: Need, best: int, able: int, failed: int) -> str:
    cost = "cheapest GPU asked for" if need.gpu else "same price everywhere"
    seen = f", {failed} recent failures" if failed else ""
    return f"score {crn.score:.2f}{seen}, {crn.free_memory_mib // 1024} GiB free, {cost}; at random among the best {best} of {able}"
