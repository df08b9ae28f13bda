"""The messages of the network, and how each becomes processed, rejected, forgotten or removed."""

import heapq
from collections.abc import Callable
from typing import Any

from aleph_devnet import forget
from aleph_devnet.aggregates import Aggregates
from aleph_devnet.credits import Ledger
from aleph_devnet.listing import Index
from aleph_devnet.message import FORGOTTEN, PENDING, PROCESSED, REJECTED, REMOVED, REMOVING, Message
from aleph_devnet.pricing import PRICING, milli_rate
from aleph_devnet.state import Store
from aleph_devnet.validation import (
    CREDIT_PAYMENT_REQUIRED,
    INSUFFICIENT_CREDITS,
    PERMISSION_DENIED,
    VOLUME_NOT_FOUND,
    RejectError,
    RetryError,
    check_signature,
    may_act,
)

RETRY_AFTER_S = (1, 2, 4, 8, 16, 32, 64, 128)
"""Waits between tries of a message that may yet become valid: rejected after about 4 minutes."""


class Chain:
    """All messages by hash. Everything here is synchronous: a message is one step, never half of one."""

    def __init__(self, store: Store, ledger: Ledger, now: Callable[[], float], price_owner: str) -> None:
        self._store, self._now, self._price_owner = store, now, price_owner
        self.ledger = ledger
        self.aggregates = Aggregates()
        self.index = Index()
        self.messages: dict[str, Message] = {}
        self._due: list[tuple[float, str]] = []
        # Bytes that this node has seen since it started: it drops them, even those that it rejected.
        self._seen: set[str] = set()
        self.on_processed: list[Callable[[Message], None]] = []
        for _, body in store.all("message"):
            self._load(Message(**body))

    def _load(self, message: Message) -> None:
        self.messages[message.item_hash] = message
        self.index.add(message)
        if message.status == PENDING:
            heapq.heappush(self._due, (message.next_try_at, message.item_hash))
        if message.type == "AGGREGATE" and message.status == PROCESSED:
            self.aggregates.apply(message)

    def get(self, item_hash: str) -> Message | None:
        """A message by hash."""
        return self.messages.get(item_hash)

    def receive(self, message: Message, *, sync: bool) -> str:
        """Take in a message from a client; the status that the answer tells."""
        if message.item_hash in self._seen or self._is_settled(message.item_hash):
            return PENDING
        return self._admit(message, at_once=sync)

    def replay(self, item_hash: str) -> str:
        """Process a rejected message again, as another CCN would that has not refused it before."""
        message = self.messages[item_hash]
        if message.status != REJECTED:
            return message.status
        message.error_code, message.details, message.tries = None, None, 0
        return self._admit(message, at_once=True)

    def _is_settled(self, item_hash: str) -> bool:
        known = self.messages.get(item_hash)
        return known is not None and known.status != REJECTED

    def _admit(self, message: Message, *, at_once: bool) -> str:
        self._seen.add(message.item_hash)
        message.status, message.next_try_at = PENDING, self._now()
        if message.item_hash not in self.messages:
            self.index.add(message)
        self.messages[message.item_hash] = message
        with self._store.together():
            self._save(message)
            if at_once:
                self.process(message)
            else:
                heapq.heappush(self._due, (message.next_try_at, message.item_hash))
        return message.status

    def run_due(self) -> None:
        """Try every pending message whose time has come."""
        now = self._now()
        while self._due and self._due[0][0] <= now:
            _, item_hash = heapq.heappop(self._due)
            message = self.messages[item_hash]
            if message.status == PENDING and message.next_try_at <= now:
                with self._store.together():
                    self.process(message)

    def process(self, message: Message) -> None:
        """One try: processed, rejected, or pending until the next try."""
        try:
            check_signature(message)
            self._check_sender(message)
            self._apply(message)
        except RetryError as error:
            self._retry(message, error)
            return
        except RejectError as error:
            self.settle(message, REJECTED, error_code=error.code, details=error.details)
            return
        self.settle(message, PROCESSED)
        for notify in self.on_processed:
            notify(message)

    def _retry(self, message: Message, error: RetryError) -> None:
        if message.tries >= len(RETRY_AFTER_S):
            self.settle(message, REJECTED, error_code=error.code, details=error.details)
            return
        # From the planned time, not from now: a clock moved far ahead must not stretch the retries.
        message.next_try_at += RETRY_AFTER_S[message.tries]
        message.tries += 1
        heapq.heappush(self._due, (message.next_try_at, message.item_hash))
        self._save(message)

    def _check_sender(self, message: Message) -> None:
        # Who may forget is decided by the owners of the targets.
        if message.sender == message.owner or message.type == "FORGET":
            return
        is_security = message.type == "AGGREGATE" and message.content.get("key") == "security"
        if is_security or not may_act(message, self.aggregates.authorizations(message.owner)):
            raise RejectError(PERMISSION_DENIED, [f"{message.sender} may not act for {message.owner}"])

    def _apply(self, message: Message) -> None:
        if message.type == "FORGET":
            forget.apply(self, message)
        elif message.type == "AGGREGATE":
            self.aggregates.apply(message)
        elif message.type == "INSTANCE":
            self._admit_instance(message)

    def _admit_instance(self, message: Message) -> None:
        if (message.content.get("payment") or {}).get("type") != "credit":
            raise RejectError(CREDIT_PAYMENT_REQUIRED, ["Only credit payments are accepted"])
        rootfs = message.content["rootfs"]["parent"]["ref"]
        if not self.has_file(rootfs):
            raise RetryError(VOLUME_NOT_FOUND, [rootfs])
        now, rate = self._now(), self.rate(message.content)
        need = self.ledger.daily_need(message.owner, rate)
        if not self.ledger.affords(message.owner, need, now):
            balance = self.ledger.balance(message.owner, now)
            shortfall = {"account_credits": str(balance), "required_credits": str(need)}
            raise RejectError(INSUFFICIENT_CREDITS, [{**shortfall, "min_runtime_days": 1}])
        self.ledger.open(message.item_hash, message.owner, rate, now)

    def has_file(self, item_hash: str) -> bool:
        """Whether the CCN knows a file (an OS image)."""
        store = self.messages.get(item_hash)
        return store is not None and store.type == "STORE" and store.status == PROCESSED

    def add_image(self, item_hash: str, sender: str) -> None:
        """Make an OS image known, as if its STORE message had been processed long ago."""
        now = self._now()
        content = {"address": sender, "time": now, "item_type": "ipfs", "item_hash": item_hash}
        image = Message(item_hash, "STORE", sender, "ETH", None, "storage", None, now, None, content, now)
        image.status = PROCESSED
        self._load(image)
        self._save(image)

    def rate(self, content: dict[str, Any]) -> int:
        """What a VM costs, at the published prices."""
        return milli_rate(content, self.aggregates.get(self._price_owner, "pricing") or PRICING)

    def settle(self, message: Message, status: str, **changes: Any) -> None:
        """Give a message its new status, durably, and end its charge when that ends it."""
        for name, value in changes.items():
            setattr(message, name, value)
        message.status = status
        if status in (FORGOTTEN, REMOVED):
            self.ledger.close(message.item_hash, self._now())
        self._save(message)

    def force(self, item_hash: str, status: str) -> None:
        """Put a VM's message into removing, removed or back, as the nodes' cron jobs do."""
        with self._store.together():
            since = self._now() if status == REMOVING else None
            self.settle(self.messages[item_hash], status, removing_since=since)

    def _save(self, message: Message) -> None:
        self._store.put("message", message.item_hash, message.dump())
