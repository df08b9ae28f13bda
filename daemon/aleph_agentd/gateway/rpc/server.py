"""The RPC server: sockets that listen, connections that are counted, and a bounded end."""

import asyncio
import logging
import socket

from aleph_agentd.domain.errors import Denied, Refusal, Unavailable
from aleph_agentd.gateway.rpc.connection import Connection, Methods
from aleph_agentd.gateway.rpc.listener import Listener
from aleph_agentd.gateway.rpc.peer import Limits
from aleph_agentd.gateway.rpc.rate import Buckets

log = logging.getLogger(__name__)

FLUSH_S = 1.0
"""How long the last answers may take to leave once everything that ran has ended."""


class RpcServer:
    """Serves one table of methods on each listening socket.

    `allowed_uids` None lets in whoever can open the socket (its group decides).
    """

    def __init__(self, *, allowed_uids: set[int] | None = None, limits: Limits | None = None) -> None:
        self._allowed_uids = allowed_uids
        self._limits = limits or Limits()
        self._doors: list[_Door] = []
        self.draining = asyncio.Event()

    async def listen(
        self, sock: socket.socket, methods: Methods, *, human: bool, everybody: bool = False
    ) -> None:
        """Serve `methods`, and nothing else, on a listening socket; `human` says it is control.sock.

        `everybody`: whoever could open this socket is served, whatever `allowed_uids` says.
        """
        door = _Door(None if everybody else self._allowed_uids, self._limits, self.draining)
        door.listener = Listener(sock, lambda: Connection(door, methods, human=human))
        self._doors.append(door)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return sum(len(door.connections) for door in self._doors)

    async def close(self, drain_s: float) -> None:
        """Accept nobody, let what runs finish for `drain_s`, then cancel it and hang up."""
        self.draining.set()
        for door in self._doors:
            door.listener.close()
        everyone = [connection for door in self._doors for connection in door.connections]
        for connection in everyone:
            connection.stop_reading()
        tasks = {task for connection in everyone for task in connection.tasks}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=drain_s)
            await _cancel(late)
        for connection in everyone:
            connection.close()
        await self._flush()

    async def _flush(self) -> None:
        for door in self._doors:
            try:
                async with asyncio.timeout(FLUSH_S):
                    await door.empty.wait()
            except TimeoutError:
                for connection in list(door.connections):
                    connection.abort()


class _Door:
    """One listening socket's clients. Each socket has its own limit: agents cannot lock the human out."""

    listener: Listener

    def __init__(self, allowed_uids: set[int] | None, limits: Limits, draining: asyncio.Event) -> None:
        self.limits = limits
        self.processes = Buckets(limits.requests_per_s, limits.burst)
        self.users = Buckets(limits.uid_requests_per_s, limits.uid_burst)
        self.draining = draining
        self.connections: set[Connection] = set()
        self.empty = asyncio.Event()
        self.empty.set()
        self._allowed_uids = allowed_uids

    @property
    def share(self) -> int:
        """How many frames one connection may have decoded in a turn of the loop."""
        limits = self.limits
        return max(1, min(limits.frames_per_turn, limits.all_per_turn // (len(self.connections) or 1)))

    def admit(self, connection: Connection) -> Refusal | None:
        """Count the connection in, or say why not."""
        uid = connection.peer.uid
        if self._allowed_uids is not None and uid not in self._allowed_uids:
            log.warning("refused a connection of uid %d (pid %d)", uid, connection.peer.pid)
            return Denied(f"this daemon does not serve uid {uid}", "run your own: aleph-agentd run")
        if self._full_for(connection):
            return Unavailable(
                f"{len(self.connections)} clients are connected already", "close one, then connect again"
            )
        self.connections.add(connection)
        self.empty.clear()
        return None

    def _full_for(self, one: Connection) -> bool:
        limits, peers = self.limits, [other.peer for other in self.connections]
        return (
            len(peers) >= limits.connections
            or sum(peer.uid == one.peer.uid for peer in peers) >= limits.uid_connections
            or sum(peer.pid == one.peer.pid for peer in peers) >= limits.process_connections
        )

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
