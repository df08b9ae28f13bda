"""What became of every VM, from the network's own messages, charges and witness: no daemon is asked.

A VM's lease ends when its INSTANCE's metadata says (`expires_at`), or later if the AGGREGATE of
extensions says so. It lives while it is billed, and while a CRN has it in its pool.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from aleph_devnet.credits import Charge
from aleph_devnet.message import Message
from aleph_devnet.network import Network
from aleph_devnet.spans import Spans, clipped, length, merged, without
from aleph_devnet.witness import Span

EXTENSIONS = "aleph-agentd-leases"

Excuses = Mapping[str, Spans]


@dataclass(frozen=True)
class Life:
    """One VM that was billed. Seconds past its lease, and how they divide."""

    item_hash: str
    wish: str
    """The SSH key that it lets in: whoever asks gives each request a key of its own."""
    lease_end: float | None
    billed: tuple[float, float]
    units: int
    past_s: float
    billed_past_s: float
    unreachable_s: float
    """Of `past_s`: the CCN could not be reached or, once billing had ended, its CRN."""
    excused_s: dict[str, float]
    """Of what is left, by excuse."""
    alive: bool
    """Still billed, or in the pool of a CRN that can be reached."""

    @property
    def late_s(self) -> float:
        """What nothing excuses."""
        return max(0.0, self.past_s - self.unreachable_s - sum(self.excused_s.values()))


def lives(network: Network, excuses: Excuses) -> list[Life]:
    """Every VM that was ever charged for. `excuses`: by name, the times in which nobody could end any."""
    found = network.chain.messages.values()
    charges = ((message, network.chain.ledger.charge(message.item_hash)) for message in found)
    now = network.clock.now()
    return [_life(network, message, charge, excuses, now) for message, charge in charges if charge]


def summary(found: list[Life], rows: Iterable[str]) -> dict[str, Any]:
    """The figures of a whole run. `rows`: the hashes that an inventory holds at its end."""
    known = set(rows)
    unknown = [life for life in found if life.item_hash not in known]
    return {
        "vms": len(found),
        "past_lease_h": _hours(life.past_s for life in found),
        "unreachable_h": _hours(life.unreachable_s for life in found),
        "billed_past_lease_h": _hours(life.billed_past_s for life in found),
        "excused_h": {
            name: _hours(life.excused_s[name] for life in found)
            for name in (found[0].excused_s if found else ())
        },
        "late_h": _hours(life.late_s for life in found),
        "latest": sorted(((round(life.late_s, 1), life.item_hash) for life in found), reverse=True)[:5],
        "lost": [life.item_hash for life in found if life.alive],
        "double": doubles(found),
        "without_row": [life.item_hash for life in unknown],
        "without_row_units": sum(life.units for life in unknown),
        "units": sum(life.units for life in found),
    }


def doubles(found: list[Life]) -> list[str]:
    """The VMs that were billed while another one of the same wish was."""
    by_wish: defaultdict[str, list[Life]] = defaultdict(list)
    for life in sorted(found, key=lambda life: life.billed):
        by_wish[life.wish].append(life)
    return [
        after.item_hash
        for same in by_wish.values()
        for before, after in pairwise(same)
        if after.billed[0] < before.billed[1]
    ]


def _life(network: Network, message: Message, charge: Charge, excuses: Excuses, now: float) -> Life:
    end = _lease_end(network, message)
    to = now if charge.to_ms is None else charge.to_ms / 1000
    stays = network.witness.stays[message.item_hash]
    up = {crn.node.hash: crn.up for crn in network.crns}
    since = now if end is None else end
    blind = _closed(network.witness.outages["ccn"], now)
    billing = clipped([(charge.from_ms / 1000, to)], since)
    past, reachable = billing, without(billing, blind)
    for crn, span in stays:
        stay = clipped(_closed([span], now), since)
        past = past + stay
        reachable = reachable + without(stay, [*blind, *_closed(network.witness.outages[crn], now)])
    past_s, left = length(past), merged(reachable)
    unreachable_s, excused_s = past_s - length(left), {}
    for name, spans in excuses.items():
        before_s, left = length(left), without(left, spans)
        excused_s[name] = before_s - length(left)
    return Life(
        message.item_hash,
        " ".join(message.content.get("authorized_keys") or [message.item_hash]),
        end,
        (charge.from_ms / 1000, to),
        charge.units(round(now * 1000)),
        past_s,
        length(billing),
        unreachable_s,
        excused_s,
        charge.to_ms is None or any(span.to is None and up[crn] for crn, span in stays),
    )


def _lease_end(network: Network, message: Message) -> float | None:
    entries = network.chain.aggregates.get(message.sender, EXTENSIONS)
    numbered = (name.rpartition(":") for name in entries if name.startswith(message.item_hash))
    highest = max((int(number) for _, _, number in numbered), default=0)
    text = (message.content.get("metadata") or {}).get("expires_at")
    if highest:
        text = entries[f"{message.item_hash}:{highest}"]
    return datetime.fromisoformat(text).timestamp() if text else None


def _closed(spans: list[Span], now: float) -> Spans:
    return [(span.since, now if span.to is None else span.to) for span in spans]


def _hours(seconds: Iterable[float]) -> float:
    return round(sum(seconds) / 3600, 3)
