"""Words, money and times as people read them; what came from elsewhere is shown, never interpreted."""

import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aleph_agentd.domain import counting, money

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control, formatting (right-to-left overrides too), surrogates, line and paragraph separators."""

UNKNOWN = "unknown"
NONE = "–"


def plain(value: object) -> str:
    """The text with everything visible: an escape sequence in a name must not reach the terminal."""
    return "".join(_visible(character) for character in str(value))


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    return character.encode("unicode_escape").decode("ascii")


def fit(text: str, width: int) -> str:
    """The text on exactly so many columns: filled with spaces, or cut with an ellipsis."""
    if (cells := sum(map(_cells, text))) <= width:
        return text + " " * (width - cells)
    kept, room = "", width - 1
    for character in text:
        if (room := room - _cells(character)) < 0:
            break
        kept += character
    return fit(f"{kept}…"[:width], width)


def _cells(character: str) -> int:
    """How many columns of a terminal it takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def credits_and_usd(amount: float | None, otherwise: str = UNKNOWN) -> str:
    """`57.00 cr (US$0.57)`, exact as `money.show` is."""
    if amount is None:
        return otherwise
    cr = Decimal(str(amount))
    return f"{money.decimals(cr, 4)} cr (US${money.decimals(cr / 100, 6)})"


def moment(at: object) -> str:
    """An ISO instant in the reader's own time zone; whatever else it is, as it came."""
    try:
        parsed = datetime.fromisoformat(str(at))
    except ValueError:
        return plain(at)
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return aware.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def ends(vm: dict[str, Any]) -> str:
    """When the lease of a VM ends, with the time left."""
    at = vm.get("ttl_expires_at")
    if at is None:
        return NONE
    left = vm.get("expires_in")
    return f"in {plain(left)} ({moment(at)})" if left else moment(at)


def minutes(value: float | None) -> str:
    """A runtime: `12 min`, `3 h 20 min`."""
    whole = int(value or 0)
    return f"{whole} min" if whole < 60 else f"{whole // 60:,} h {whole % 60} min"


def short(item_hash: object) -> str:
    """As much of a hash as tells VMs apart."""
    return plain(item_hash)[:16]


def counted(number: object, noun: str) -> str:
    """`1 VM`, `2 VMs`; None is an unknown number."""
    return plain(counting.counted(number, noun))
