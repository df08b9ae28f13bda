"""What the network has booked of a payer's credits: all of it since an instant, or trouble.

The history is told page by page, the newest first; what is booked meanwhile only pushes the rest on.
"""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from ...domain.model import Expense
from ...ports import NetworkTrouble
from .ccn import Ccn
from .checked import clean, instant, listing, making_sense, mapping, number, text, whole

PAGE = 100
MOST_PAGES = 500
_EXPENSE = "credit_expense"


async def list_expenses(ccn: Ccn, host: str, payer: str, since: datetime) -> list[Expense]:
    """Every expense that one host has booked since then."""
    path = f"/api/v0/addresses/{quote(payer, safe='')}/credit_history"
    found: dict[str, Expense] = {}
    before: datetime | None = None
    for page in range(1, MOST_PAGES + 1):
        params = {"page": str(page), "pagination": str(PAGE)}
        answer = await ccn.get(host, path, params, expect=(200, 404))
        if answer.status == 404:
            return list(found.values())
        with making_sense(answer.endpoint):
            rows = listing(mapping(answer.json())["credit_history"])
            for row in map(mapping, rows):
                at = instant(row["message_timestamp"])
                if before is not None and at > before:
                    raise ValueError("the history is not told the newest first")
                before = at
                if at < since:
                    return list(found.values())
                if row.get("payment_method") == _EXPENSE:
                    expense = _expense(row, at)
                    found[expense.entry] = expense
        if len(rows) < PAGE:
            return list(found.values())
    raise NetworkTrouble(f"GET {host}{path}", f"tells more than {MOST_PAGES} pages")


def _expense(row: dict[str, Any], at: datetime) -> Expense:
    units = -number(row["amount"], at_least=-(10**18), at_most=0)
    ref = row.get("origin_ref")
    return Expense(
        entry=f"{clean(text(row['credit_ref']))}.{whole(row['credit_index'])}",
        at=at,
        item_hash=clean(ref) if isinstance(ref, str) else "",
        units=int(units.to_integral_value()),
    )
