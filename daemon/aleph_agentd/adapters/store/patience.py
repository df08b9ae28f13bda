"""An end to waiting for a server that neither answers nor goes away: paused, or its machine is stuck.

Its own time-outs do not run then, and its kernel goes on to answer ours. Without an end the one thread of the
inventory would wait for ever, and with it every lease.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Engine, event

LONGEST_S = 40.0
"""For one transaction: longer than anything that the server itself would end."""


class Patience:
    """Cuts the connection off, which the driver takes for any other loss of it. A file needs none."""

    def __init__(self, engine: Engine) -> None:
        self._needed = engine.url.get_backend_name() != "sqlite"
        self._connection: Any = None
        if self._needed:
            event.listen(engine, "connect", self._see)
            event.listen(engine, "checkout", self._see)

    def _see(self, connection: Any, *_: object) -> None:
        self._connection = connection

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Around a transaction, with the asking whether its connection still lives."""
        if not self._needed:
            yield
            return
        timer = threading.Timer(LONGEST_S, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        connection = self._connection
        if connection is None or connection.closed:
            return
        # Of a copy of its handle: the thread that waits is the only one that may close its own.
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)
