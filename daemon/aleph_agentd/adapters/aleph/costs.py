"""What a payer's un-forgotten VMs cost now, as the network says it: in all, and each."""

from decimal import Decimal

from ...ports import NetworkTrouble
from .ccn import Ccn
from .checked import listing, making_sense, mapping, number, text

PAGE = 100
MOST_PAGES = 200
_PATH = "/api/v0/costs"


async def total_rate(ccn: Ccn, host: str, payer: str) -> Decimal:
    """Units per second of all of them together."""
    answer = await ccn.get(host, _PATH, _params(payer))
    with making_sense(answer.endpoint):
        return number(mapping(mapping(answer.json())["summary"])["total_cost_credit"])


async def rates(ccn: Ccn, host: str, payer: str) -> dict[str, Decimal]:
    """Units per second of each of them, over all pages."""
    found: dict[str, Decimal] = {}
    for page in range(1, MOST_PAGES + 1):
        params = _params(payer) | {"include_details": "1", "pagination": str(PAGE), "page": str(page)}
        answer = await ccn.get(host, _PATH, params)
        with making_sense(answer.endpoint):
            rows = listing(mapping(answer.json())["resources"])
            found |= {text(row["item_hash"]): number(row["cost_credit"]) for row in map(mapping, rows)}
        if len(rows) < PAGE:
            return found
    raise NetworkTrouble(f"GET {host}{_PATH}", f"tells more than {MOST_PAGES} pages")


def _params(payer: str) -> dict[str, str]:
    return {"address": payer, "payment_type": "credit"}
