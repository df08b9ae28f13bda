"""One request for money, and what is reserved for it."""

from dataclasses import dataclass
from decimal import Decimal
from math import ceil

BILLING_TAIL_S = 1800
"""Teardown may take this much longer than the lease; reserved, and settled to what was used."""
MIN_BILLED_S = 3600
"""At least one billing quantum is reserved."""


def reserve_units(hourly: int, seconds: int | Decimal) -> int:
    """The worst case of a lease: to its end, plus the teardown's tail, at least one billing quantum."""
    return -(-hourly * max(ceil(seconds) + BILLING_TAIL_S, MIN_BILLED_S) // 3600)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request for money, and everything that decides on it. Units throughout."""

    what: str
    """`create`, `extend`, or `adopt`: one more VM in the books, which the network runs already."""
    name: str = ""
    project: str = ""
    """The directory whose VM it is, as its client claims."""
    os_image: str = ""
    crn_hash: str = ""
    compute_units: int = 1
    lifetime_s: int
    """From the creation of the VM to the asked end."""
    extensions: int = 0
    """How often the lease was extended before."""
    hourly_units: int
    estimate_units: int
    """What is asked for costs this much, if all goes as planned."""
    reserve_units: int
    """… and this much at worst."""
    balance_units: int
    network_hourly_units: int = 0
    """What the payer's un-forgotten VMs cost per hour already, as the network says; 0: it does not say."""
    others_live: int = 0
    """Live VMs under our key that the inventory does not hold: they count as well (rules.md 8)."""
    max_hourly_units: int | None = None
    """The caller's own limit on the price of this VM."""
    confirmed: bool = False
    approved_units: int | None = None
    """Up to this much a human has said yes to it; None: nobody was asked."""
