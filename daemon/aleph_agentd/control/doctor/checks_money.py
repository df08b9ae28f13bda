"""What there is to spend, what it costs, and whose it is."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from aleph_agentd.control.doctor.facts import Facts
from aleph_agentd.control.doctor.finding import Finding, fail, ours, warn, well
from aleph_agentd.control.doctor.web import Reply
from aleph_agentd.domain import delegation
from aleph_agentd.domain.money import BUY_CREDITS_URL, CU_HOUR_RANGE_UNITS, show

DAY_HOURS = 24


def payer(facts: Facts) -> str:
    """Who pays: the human of the settings, or the key's own account."""
    return str((facts.settings or {}).get("human_address") or facts.address)


def cu_hour_units(reply: Reply | None) -> Decimal | None:
    """The live price of a compute unit for an hour."""
    try:
        price = reply.body["data"]["pricing"]["instance"]["price"] if reply else None
        found = Decimal(str(price["compute_unit"]["credit"])) if price else None
    except (KeyError, TypeError, InvalidOperation):
        return None
    return found if found is not None and found.is_finite() else None


def price(facts: Facts) -> Iterator[Finding]:
    """The network still counts in the unit that our limits are converted to."""
    if facts.settings is None:
        return
    units = cu_hour_units(facts.pricing)
    low, high = CU_HOUR_RANGE_UNITS
    if units is None:
        yield warn(
            "price unit", f"the price is not known{_because(facts.pricing)}", advice=_again(facts.pricing)
        )
    elif not low <= units <= high:
        yield fail(
            "price unit",
            f"1 CU costs {units} units per hour, outside {low} … {high}: the network's unit has changed",
            advice=f"spend nothing until a newer version knows it: {ours('aleph-agentctl', 'freeze')}",
        )
    else:
        yield well("price unit", f"1 CU costs {show(int(units))} per hour")


def balance(facts: Facts) -> Iterator[Finding]:
    """Enough for the network's own rule: a day of everything that runs, and of what is to be made."""
    if not payer(facts):
        return
    body = facts.balance.body if facts.balance else None
    units = body.get("credit_balance") if isinstance(body, dict) else None
    if not isinstance(units, int):
        yield warn("balance", f"not known{_because(facts.balance)}", advice=_again(facts.balance))
        return
    rate = cu_hour_units(facts.pricing)
    if not rate or rate <= 0:
        yield warn("balance", f"{show(units)}; what it buys is not known", advice=_again(facts.pricing))
        return
    hours = int(units / rate)
    says = f"{payer(facts)} has {show(units)}: {hours} hours of a VM of 1 CU"
    if hours < DAY_HOURS:
        yield fail(
            "balance",
            f"{says}; the network wants {DAY_HOURS} for a new one",
            advice=f"buy credits for {payer(facts)} at {BUY_CREDITS_URL}",
        )
    else:
        yield well("balance", says)


def delegated(facts: Facts) -> Iterator[Finding]:
    """In delegated mode the payer has granted what is needed."""
    human = (facts.settings or {}).get("human_address")
    if not human or not facts.address:
        return
    granted = _granted(facts)
    if granted is None:
        yield warn(
            "delegation",
            f"what {human} grants is not known{_because(facts.security)}",
            advice=_again(facts.security),
        )
        return
    lacking = delegation.missing(granted)
    if not lacking:
        yield well("delegation", f"{human} grants all that is needed")
        return
    why = "; ".join(f"{kind} is not granted: {delegation.BREAKS[kind]}" for kind in lacking)
    judged = warn if delegation.suffices(granted) else fail
    yield judged("delegation", why, advice=f"{human} runs: {delegation.grant_command(facts.address)}")


def _granted(facts: Facts) -> frozenset[str] | None:
    reply = facts.security
    if reply is None or (reply.trouble and reply.status != 404):
        return None
    if reply.status == 404:
        return frozenset()
    try:
        entries: Any = reply.body["data"]["security"]["authorizations"]
    except (KeyError, TypeError):
        return frozenset()
    return delegation.grants_of(entries, facts.address)


def _because(reply: Reply | None) -> str:
    return f": {reply.trouble}" if reply and reply.trouble else ""


def _again(reply: Reply | None) -> str:
    return f"when the network answers, look again; this is what was asked: {reply.url}" if reply else ""
