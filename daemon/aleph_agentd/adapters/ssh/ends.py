"""The two ends of a stream of any length, in bounded memory."""

from ...ports.guests import KEPT_BYTES, Printed


class Ends:
    """Takes chunks, keeps the first and the last bytes."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._most = most
        self._head, self._tail, self._total = bytearray(), bytearray(), 0

    def take(self, chunk: bytes) -> None:
        """The next bytes."""
        self._total += len(chunk)
        room = self._most - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:][-self._most :]
        del self._tail[: -self._most]

    def printed(self) -> Printed:
        """What is kept so far."""
        return Printed(bytes(self._head), bytes(self._tail), self._total)
