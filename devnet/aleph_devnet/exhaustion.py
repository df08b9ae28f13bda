"""What the nodes' cron jobs do when credits run out: PROCESSED -> REMOVING -> REMOVED, and back."""

from aleph_devnet.chain import Chain
from aleph_devnet.message import PROCESSED, REMOVED, REMOVING
from aleph_devnet.pricing import DAY_S, HOUR_S, cost_units
from aleph_devnet.state import Store

MAX_STEPS = 24 * 40


class Exhaustion:
    """Runs once an hour of the network's time; a moved clock makes it run for every hour passed."""

    def __init__(self, chain: Chain, store: Store, now: float) -> None:
        self._chain, self._store = chain, store
        self._next_at: float = store.get("meta", "exhaustion") or now + HOUR_S

    def run_due(self, now: float) -> None:
        """Catch up with the clock. Steps beyond `MAX_STEPS` could change nothing more."""
        if now < self._next_at:
            return
        behind = int((now - self._next_at) // HOUR_S) + 1
        first = self._next_at + max(0, behind - MAX_STEPS) * HOUR_S
        with self._store.together():
            for step in range(min(behind, MAX_STEPS)):
                self._pass(first + step * HOUR_S)
            self._next_at += behind * HOUR_S
            self._store.put("meta", "exhaustion", self._next_at)

    def _pass(self, at: float) -> None:
        for address, payer in self._chain.ledger.payers.items():
            if payer.open:
                self._remove_old(list(payer.open), at)
                self._mark(address, at)

    def _remove_old(self, item_hashes: list[str], at: float) -> None:
        for item_hash in item_hashes:
            message = self._chain.messages[item_hash]
            if message.status == REMOVING and at - (message.removing_since or at) >= DAY_S:
                self._chain.ledger.close(item_hash, at)
                self._chain.settle(message, REMOVED)

    def _mark(self, address: str, at: float) -> None:
        """The newest go first, until what is left can be paid for a day."""
        ledger = self._chain.ledger
        balance = ledger.balance(address, at)
        need = ledger.daily_need(address)
        for charge in reversed(list(ledger.payers[address].open.values())):
            message = self._chain.messages[charge.item_hash]
            if balance < need:
                need -= cost_units(charge.rate_milli, DAY_S * 1000)
                if message.status == PROCESSED:
                    self._chain.settle(message, REMOVING, removing_since=at)
            elif message.status == REMOVING:
                self._chain.settle(message, PROCESSED, removing_since=None)

    def recover(self, address: str, now: float) -> None:
        """After a top-up: what can be paid again is processed again, without waiting for the hour."""
        payer = self._chain.ledger.payers[address]
        if payer.balance(round(now * 1000)) >= self._chain.ledger.daily_need(address):
            with self._store.together():
                self._mark(address, now)
