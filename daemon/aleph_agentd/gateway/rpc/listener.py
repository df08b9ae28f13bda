"""Accepting clients, no faster than is good for those that are connected."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from aleph_agentd.gateway.rpc.rate import Bucket

PER_TURN = 4
"""Clients that are accepted before everybody else gets a turn. asyncio's own server takes a hundred."""
RATE, BURST = 200.0, 256.0
"""Clients per second; who comes faster waits in the kernel's queue."""
OUT_OF_FILES_S = 1.0


class Listener:
    """One listening socket. `make` gives the protocol of each client."""

    def __init__(self, sock: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
        self._sock, self._make = sock, make
        self._loop = asyncio.get_running_loop()
        self._bucket = Bucket(RATE, BURST, self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._welcomes: set[asyncio.Task[object]] = set()
        sock.setblocking(False)
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Accept nobody any more."""
        if self._sock.fileno() < 0:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _accept(self) -> None:
        for _ in range(PER_TURN):
            if wait := self._bucket.wait_s(self._loop.time()):
                self._pause(wait)
                return
            try:
                client, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No file is left for one more client; some will be when others hang up.
                self._pause(OUT_OF_FILES_S)
                return
            self._bucket.take(1, self._loop.time())
            client.setblocking(False)
            welcome = self._loop.create_task(self._welcome(client), name="accept")
            self._welcomes.add(welcome)
            welcome.add_done_callback(self._welcomes.discard)

    async def _welcome(self, client: socket.socket) -> None:
        with suppress(OSError):  # it has hung up already
            await self._loop.connect_accepted_socket(self._make, client)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._sock)
        self._timer = self._loop.call_later(seconds, self._loop.add_reader, self._sock, self._accept)
