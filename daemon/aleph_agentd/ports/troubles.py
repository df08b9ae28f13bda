"""What may go wrong outside, as services see it."""


class NetworkTrouble(Exception):
    """A call whose outcome is not known: time-out, broken connection, 5xx, or an answer that makes no sense."""

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"{endpoint}: {reason}")
        self.endpoint = endpoint
        self.reason = reason


class StoreTrouble(Exception):
    """The inventory could not be read or written; the message says why, in one line."""


class StoreFull(StoreTrouble):
    """There is no room left for the inventory; the transaction was rolled back."""


class KeyMissing(Exception):
    """There is no usable key; the message says why, in one line."""


class OtherKey(KeyMissing):
    """There is a key, but not the one that the inventory was made with."""
