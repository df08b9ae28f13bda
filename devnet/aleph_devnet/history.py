"""The views of the same charges that the API offers: credit history, costs, consumed credits.

As on the network, history is booked once an hour (and when a VM ends), so it lags behind the balance.
"""

import hashlib
from typing import Any

from aleph_devnet.clock import iso
from aleph_devnet.credits import Charge, Deposit, Ledger, ms
from aleph_devnet.pricing import HOUR_S, per_second

_HOUR_MS = HOUR_S * 1000


def booked(charge: Charge, now_ms: int) -> list[tuple[int, int]]:
    """(when, units) of every expense row of a charge: one per full hour, and the rest when it ends."""
    last = now_ms if charge.to_ms is None else min(charge.to_ms, now_ms)
    marks = list(range(charge.from_ms + _HOUR_MS, last + 1, _HOUR_MS))
    if charge.to_ms is not None and charge.to_ms <= now_ms and (not marks or marks[-1] < charge.to_ms):
        marks.append(charge.to_ms)
    rows, before = [], 0
    for mark in marks:
        units = charge.units(mark)
        rows.append((mark, units - before))
        before = units
    return rows


def credit_history(ledger: Ledger, address: str, now: float) -> list[dict[str, Any]]:
    """Every row of an account, the newest first."""
    payer = ledger.payers.get(address)
    if payer is None:
        return []
    rows = [_deposit_row(deposit) for deposit in payer.deposits]
    for charge in payer.charges:
        rows += [_expense_row(charge, n, at, units) for n, (at, units) in enumerate(booked(charge, ms(now)))]
    return sorted(rows, key=lambda row: str(row["message_timestamp"]), reverse=True)


def consumed(ledger: Ledger, item_hash: str, now: float) -> int:
    """Units booked for one VM so far."""
    charge = ledger.charge(item_hash)
    return sum(units for _, units in booked(charge, ms(now))) if charge else 0


def costs(ledger: Ledger, address: str | None, item_hash: str | None, now: float) -> list[dict[str, Any]]:
    """The VMs that are charged for now, with their rate and what they took up to this moment."""
    payers = [ledger.payers[address]] if address in ledger.payers else []
    charges = [c for payer in (payers if address else ledger.payers.values()) for c in payer.open.values()]
    return [
        {
            "item_hash": charge.item_hash,
            "owner": charge.address,
            "payment_type": "credit",
            "consumed_credits": charge.units(ms(now)),
            "cost_hold": "0",
            "cost_stream": "0",
            "cost_credit": per_second(charge.rate_milli),
        }
        for charge in charges
        if item_hash in (None, charge.item_hash)
    ]


def _row(amount: int, ref: str, index: int, at: float, **rest: Any) -> dict[str, Any]:
    empty = ("price", "bonus_amount", "tx_hash", "token", "chain", "provider", "origin", "origin_ref")
    return {
        **dict.fromkeys(empty),
        "amount": amount,
        "credit_ref": ref,
        "credit_index": index,
        "expiration_date": None,
        "message_timestamp": iso(at),
        **rest,
    }


def _deposit_row(deposit: Deposit) -> dict[str, Any]:
    ref = hashlib.sha256(f"deposit {deposit.number}".encode()).hexdigest()
    return _row(deposit.units, ref, 0, deposit.at, provider="devnet", payment_method="credit_distribution")


def _expense_row(charge: Charge, index: int, at_ms: int, units: int) -> dict[str, Any]:
    ref = hashlib.sha256(f"expense {charge.item_hash}".encode()).hexdigest()
    return _row(
        -units,
        ref,
        index,
        at_ms / 1000,
        payment_method="credit_expense",
        origin="ALEPH",
        origin_ref=charge.item_hash,
    )
