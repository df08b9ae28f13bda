"""What devnet says against what the inventory and the ledger say, when nothing is left to do.

Devnet is the truth: its messages, its CRNs and its charges. Each finding is one line that names a VM.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from crash.tenant import DEAD, Tenant
from support.daemon import BILLED

SKEW_S = 1.0
"""A row is written before the POST and after the confirmation, by the same machine's clock: no second is missing."""
ROUNDING_UNITS = 2
"""Each side rounds up once."""

Facts = dict[str, Any]
Booked = defaultdict[tuple[str, str], int]
"""Units by VM and account."""


@dataclass
class Verdict:
    """What is wrong, by kind; nothing, if all is well."""

    lost: list[str] = field(default_factory=list)
    """Known to the network, but no row."""
    double: list[str] = field(default_factory=list)
    """Two VMs of one name that were billed at the same time."""
    overdue: list[str] = field(default_factory=list)
    """Over, but billed, on a CRN, or without a closed row."""
    unaccounted: list[str] = field(default_factory=list)
    """Charged and not, or not rightly, in the ledger; or still reserved."""

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        return iter(vars(self).items())

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(found for _, found in self)


def judge(tenant: Tenant) -> Verdict:
    """Compare both, as they are now."""
    booked: Booked = defaultdict(int)
    for movement in tenant.read("SELECT item_hash, account, units FROM ledger"):
        booked[movement["item_hash"], movement["account"]] += movement["units"]
    rows = tenant.removed | {row["item_hash"]: row for row in tenant.rows()}
    return compare(tenant.net.state(), tenant.daemon.address, rows.values(), booked)


def compare(state: Facts, address: str, inventory: Iterable[Facts], booked: Booked) -> Verdict:
    """Compare devnet's state with the rows of a daemon's key and with what its ledger has booked."""
    rows = {row["item_hash"]: row for row in inventory}
    ours = [m for m in state["messages"] if (m["type"], m["sender"]) == ("INSTANCE", address)]
    held = {item_hash for crn in state["crns"].values() for item_hash in crn["vms"]}
    mine = {message["item_hash"] for message in ours}
    charges = [charge for charge in state["charges"] if charge["item_hash"] in mine]
    verdict = Verdict(
        double=list(_double(charges, rows)), unaccounted=list(_unaccounted(charges, rows, booked))
    )
    for message in ours:
        item_hash, status = message["item_hash"], message["status"]
        if item_hash not in rows:
            verdict.lost.append(f"{item_hash} is {status} and has no row")
        if status in BILLED or item_hash in held:
            where = "on a CRN" if item_hash in held else "on no CRN"
            verdict.overdue.append(f"{item_hash} is {status}, {where}")
    for row in rows.values():
        if row["state"] not in DEAD:
            why = f"{row['state']} in the inventory: {row['last_error'] or row['cause']}"
            verdict.overdue.append(f"{row['item_hash']} is {why}")
    return verdict


def _double(charges: Iterable[Facts], rows: dict[str, Facts]) -> Iterator[str]:
    by_name: defaultdict[str, list[Facts]] = defaultdict(list)
    for charge in charges:
        if charge["item_hash"] in rows:
            by_name[rows[charge["item_hash"]]["name"]].append(charge)
    for name, billed in by_name.items():
        billed.sort(key=lambda charge: charge["from"])
        for one, other in pairwise(billed):
            if one["to"] is None or one["to"] > other["from"]:
                yield f"{name} was billed twice at once: {one['item_hash']}, {other['item_hash']}"


def _unaccounted(charges: Iterable[Facts], rows: dict[str, Facts], booked: Booked) -> Iterator[str]:
    by_vm: defaultdict[str, list[Facts]] = defaultdict(list)
    for charge in charges:
        by_vm[charge["item_hash"]].append(charge)
    for item_hash, row in rows.items():
        if left := booked[item_hash, "reserved"]:
            yield f"{item_hash}: {left} units stay reserved"
        spent = booked[item_hash, "spent"]
        if item_hash in by_vm:
            yield from (f"{item_hash}: {why}" for why in _money(row, by_vm.pop(item_hash), spent))
        elif spent and row["state"] == "failed" and row["forgotten_at"] is None:
            yield f"{item_hash}: {spent} units booked for what never was"
    for item_hash in by_vm:
        yield f"{item_hash}: charged, and no row"


def _money(row: Facts, charges: list[Facts], spent: int) -> Iterator[str]:
    """The ledger books from the broadcast to the confirmed end: what the network charges, and the gaps around it."""
    charged = sum(charge["units"] for charge in charges)
    began, ended = min(charge["from"] for charge in charges), max(charge["to"] or 0 for charge in charges)
    rate = float(row["rate"])
    broadcast, forgotten = (row["broadcast_at"] or 0) / 1e6, (row["forgotten_at"] or 0) / 1e6
    if broadcast > began + SKEW_S:
        yield f"its broadcast was noted {broadcast - began:.1f} s after it was billed"
    if forgotten < ended - SKEW_S:
        yield f"its end was noted {ended - forgotten:.1f} s before it was billed no more"
    gaps = rate * (max(0.0, forgotten - broadcast) - sum((c["to"] or ended) - c["from"] for c in charges))
    if not charged - ROUNDING_UNITS <= spent <= charged + gaps + rate * SKEW_S + ROUNDING_UNITS:
        yield f"{charged} units charged, {spent} booked; at most {gaps:.0f} more would be the gaps"
