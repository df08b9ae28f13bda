"""Money in the network's integer units, and how people see it.

1 USD = 1,000,000 network units; 1 credit (as shown and configured) = US$0.01 = 10,000 units.
Rates are `Decimal` units per second, as the network quotes them; amounts are `int` units.
"""

import re
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal, InvalidOperation

UNITS_PER_CREDIT = 10_000
UNITS_PER_USD = 1_000_000
SECONDS_PER_HOUR = 3600

CU_HOUR_RANGE_UNITS = (UNITS_PER_CREDIT // 10, 100 * UNITS_PER_CREDIT)
"""A live price of 1 CU·h outside this range means that the network changed its unit."""

BUY_CREDITS_URL = "https://credits.app.aleph.im"

_BARE_CREDITS_LIMIT = 100_000
_MAX_CREDITS = 10**12
_AMOUNT = re.compile(r"^\s*(\d{1,15}(?:\.\d{1,6})?)\s*(usd|\$|cr|credits?|units?)?\s*$", re.IGNORECASE)


def cost_units(rate: Decimal, seconds: int | Decimal) -> int:
    """What `seconds` at `rate` units per second cost, rounded up once."""
    # 28 digits: the last ones of a price per second are not its own, and must not make a whole unit.
    return int((rate * max(0, seconds)).to_integral_value(ROUND_CEILING))


def exact_s(span: timedelta) -> Decimal:
    """A span in seconds, to the microsecond."""
    return Decimal(span // timedelta(microseconds=1)) / 1_000_000


def whole_s(hours: float) -> int:
    """Hours, as callers and settings write them, in whole seconds; a begun one counts. From here on no float."""
    return int((Decimal(str(hours)) * SECONDS_PER_HOUR).to_integral_value(rounding=ROUND_CEILING))


def hourly_units(rate: Decimal) -> int:
    """Units per hour of a rate in units per second, rounded up."""
    return cost_units(rate, SECONDS_PER_HOUR)


def in_credits(units: int) -> float:
    """Credits for display and for the wire (4 decimals: one decimal is a thousandth of a cent)."""
    return float(Decimal(units) / UNITS_PER_CREDIT)


def in_usd(units: int) -> float:
    """US dollars for display and for the wire."""
    return float(Decimal(units) / UNITS_PER_USD)


def show(units: int) -> str:
    """`570000` → `57.00 credits (US$0.57)`. Exact, as the numbers beside it are: one price must not look like two."""
    return f"{decimals(Decimal(units) / UNITS_PER_CREDIT, 4)} credits (US${decimals(Decimal(units) / UNITS_PER_USD, 6)})"


def decimals(amount: Decimal, most: int) -> str:
    """At least two, and as many as it has, up to `most`."""
    whole, _, fraction = f"{amount:,.{most}f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def parse_amount(text: str | int | float) -> int:
    """`5 USD`, `500 cr`, or a bare number of credits → units. Raises ValueError with one sentence.

    A bare number above 100,000 is refused: it is most likely meant in network units (rules.md 17).
    """
    match = _AMOUNT.match(str(text))
    if not match:
        # Not the start of a longer one: it may be a key in the wrong place, and errors are logged.
        shown = repr(str(text)) if len(str(text)) <= 40 else "this text"
        raise ValueError(f"{shown} is not an amount: write `500 cr` (credits) or `5 USD`")
    try:
        number = Decimal(match[1])
    except InvalidOperation:  # pragma: no cover - the pattern admits only numbers
        raise ValueError(f"{match[1]!r} is not a number") from None
    unit = (match[2] or "").lower()
    if not unit and number > _BARE_CREDITS_LIMIT:
        raise ValueError(
            f"{number} without a unit is too large to be credits: write `{number} cr` or an amount in USD"
        )
    if unit.startswith("unit"):
        raise ValueError("amounts are written in credits (`500 cr`) or `USD`, not in network units")
    units = number * (UNITS_PER_USD if unit in ("usd", "$") else UNITS_PER_CREDIT)
    if units > _MAX_CREDITS * UNITS_PER_CREDIT:
        raise ValueError(f"{text} is beyond any budget")
    return int(units)
