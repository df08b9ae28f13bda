"""Credits: what was paid in, what every VM is charged for, and the balances that follow from both.

A VM is charged from the moment its INSTANCE is processed until it is forgotten or removed, whether or
not a CRN runs it. A charge is rate x time, rounded up once; nothing else moves credits.
"""

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from aleph_devnet.pricing import DAY_S, HOUR_S, cost_units
from aleph_devnet.state import Store


@dataclass(slots=True)
class Charge:
    """What one VM costs its payer. Times are milliseconds; `to_ms` is None while it runs."""

    item_hash: str
    address: str
    rate_milli: int
    from_ms: int
    to_ms: int | None = None

    def units(self, at_ms: int) -> int:
        """Units charged up to a moment."""
        end = at_ms if self.to_ms is None else min(self.to_ms, at_ms)
        return cost_units(self.rate_milli, end - self.from_ms)


@dataclass(slots=True, frozen=True)
class Deposit:
    """Credits bought (or, when negative, taken away by a test)."""

    number: int
    address: str
    units: int
    at: float


class Payer:
    """One account, with the sums that keep an admission O(1) for most of them."""

    def __init__(self) -> None:
        self.deposits: list[Deposit] = []
        self.charges: list[Charge] = []
        self.open: dict[str, Charge] = {}
        self.deposited = 0
        self.closed_units = 0
        self.rate_milli = 0
        self._rate_from = 0
        self._newest_ms = 0

    def take(self, charge: Charge) -> None:
        """Take a charge in, open or closed."""
        self.charges.append(charge)
        if charge.to_ms is not None:
            self.closed_units += charge.units(charge.to_ms)
            return
        self.open[charge.item_hash] = charge
        self.rate_milli += charge.rate_milli
        self._rate_from += charge.rate_milli * charge.from_ms
        self._newest_ms = max(self._newest_ms, charge.from_ms)

    def close(self, charge: Charge, at_ms: int) -> None:
        """End an open charge."""
        charge.to_ms = max(at_ms, charge.from_ms)
        del self.open[charge.item_hash]
        self.rate_milli -= charge.rate_milli
        self._rate_from -= charge.rate_milli * charge.from_ms
        self.closed_units += charge.units(charge.to_ms)

    def affords(self, units: int, at_ms: int) -> bool:
        """Whether the balance is at least this: told by the sums, and counted only when it is close."""
        running = cost_units(1, self.rate_milli * at_ms - self._rate_from) + len(self.open)
        if at_ms >= self._newest_ms and self.deposited - self.closed_units - running >= units:
            return True
        return self.balance(at_ms) >= units

    def balance(self, at_ms: int) -> int:
        """Exact: what was paid in less every charge."""
        running = sum(charge.units(at_ms) for charge in self.open.values())
        return self.deposited - self.closed_units - running


class Ledger:
    """Every account that was ever paid for or charged. Addresses are compared as they are written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.payers: dict[str, Payer] = defaultdict(Payer)
        self._charges: dict[str, Charge] = {}
        self._deposits = 0
        for _, body in store.all("deposit"):
            self._book(Deposit(**body))
        for _, body in store.all("charge"):
            self._take(Charge(**body))

    def deposit(self, address: str, units: int, at: float) -> None:
        """Pay credits in."""
        deposit = Deposit(self._deposits, address, units, at)
        self._store.put("deposit", str(deposit.number), asdict(deposit))
        self._book(deposit)

    def open(self, item_hash: str, address: str, rate_milli: int, at: float) -> None:
        """Start charging for a VM."""
        charge = Charge(item_hash, address, rate_milli, ms(at))
        self._store.put("charge", item_hash, asdict(charge))
        self._take(charge)

    def close(self, item_hash: str, at: float) -> None:
        """End the charge for a VM; harmless when there is none."""
        charge = self._charges.get(item_hash)
        if charge is None or charge.to_ms is not None:
            return
        self.payers[charge.address].close(charge, ms(at))
        self._store.put("charge", item_hash, asdict(charge))

    def balance(self, address: str, at: float) -> int:
        """Units left; an unknown address has none."""
        return self.payers[address].balance(ms(at)) if address in self.payers else 0

    def affords(self, address: str, units: int, at: float) -> bool:
        """Whether an account has at least so many units left."""
        return self.payers[address].affords(units, ms(at)) if address in self.payers else units <= 0

    def charge(self, item_hash: str) -> Charge | None:
        """The charge for a VM, open or closed."""
        return self._charges.get(item_hash)

    def daily_need(self, address: str, extra_rate_milli: int = 0) -> int:
        """What a day of all the account's VMs costs, and of one more."""
        rate = self.payers[address].rate_milli if address in self.payers else 0
        return cost_units(rate + extra_rate_milli, DAY_S * 1000)

    def hourly_need(self, address: str) -> int:
        """What an hour of all the account's VMs costs."""
        rate = self.payers[address].rate_milli if address in self.payers else 0
        return cost_units(rate, HOUR_S * 1000)

    def truth(self, now: float) -> dict[str, Any]:
        """Charges and balances as `/devnet/state` shows them."""
        at = ms(now)
        charges = [
            {
                "address": charge.address,
                "item_hash": charge.item_hash,
                "units": charge.units(at),
                "from": charge.from_ms / 1000,
                "to": None if charge.to_ms is None else charge.to_ms / 1000,
            }
            for charge in self._charges.values()
        ]
        return {
            "charges": charges,
            "balances": {address: payer.balance(at) for address, payer in self.payers.items()},
        }

    def _book(self, deposit: Deposit) -> None:
        payer = self.payers[deposit.address]
        payer.deposits.append(deposit)
        payer.deposited += deposit.units
        self._deposits = max(self._deposits, deposit.number + 1)

    def _take(self, charge: Charge) -> None:
        self._charges[charge.item_hash] = charge
        self.payers[charge.address].take(charge)


def ms(moment: float) -> int:
    """Unix seconds as the milliseconds that charges count in."""
    return round(moment * 1000)
