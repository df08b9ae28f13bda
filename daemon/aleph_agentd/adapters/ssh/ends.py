"""The two ends of a stream of any length, in bounded memory."""

from ...ports.guests import Printed

HEAD_BYTES = TAIL_BYTES = 8 * 1024


class Ends:
    """Takes chunks, keeps the first and the last bytes."""

    def __init__(self) -> None:
        self._head, self._tail, self._total = bytearray(), bytearray(), 0

    def take(self, chunk: bytes) -> None:
        """The next bytes."""
        self._total += len(chunk)
        room = HEAD_BYTES - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:][-TAIL_BYTES:]
        del self._tail[:-TAIL_BYTES]

    def printed(self) -> Printed:
        """What is kept so far."""
        return Printed(bytes(self._head), bytes(self._tail), self._total)
