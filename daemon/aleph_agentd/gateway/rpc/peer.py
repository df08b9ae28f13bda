"""Who is at the other end of a socket, and how much of the daemon one client may take."""

import asyncio
import socket
import struct
from dataclasses import dataclass

from aleph_agentd.domain.caller import Peer

CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""
LINGER_S = 5.0


@dataclass(frozen=True)
class Limits:
    """What one socket's clients can take of the daemon."""

    connections: int = 256
    uid_connections: int = 128
    """Of one user."""
    process_connections: int = 64
    """Of one process: it cannot lock the others of its user out."""
    in_flight: int = 64
    """Requests of one connection that run at a time; reading pauses beyond that."""
    frames_per_turn: int = 16
    """Frames of one connection that are decoded before every other connection gets its turn."""
    all_per_turn: int = 256
    """Of all of them together, as far as each has one."""
    requests_per_s: float = 2_000.0
    """Of one agent's process for long; what comes faster waits unread, after a burst of `burst`."""
    burst: float = 2_000.0
    uid_requests_per_s: float = 4_000.0
    """Of all processes of one user together that ask much: being many does not help."""
    uid_burst: float = 4_000.0
    stall_s: float = 30.0
    """How long a client may leave its answers unread before it is hung up on."""
    line: int = 64 * 1024
    """Buffer of an upgraded connection's reader."""


def peer_of(sock: socket.socket, *, human: bool) -> Peer:
    """What the kernel says of the other end."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, uid, _gid = CREDENTIALS.unpack(raw)
    return Peer(uid=uid, pid=pid, human=human)


def hang_up(transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
    """Close once what is buffered has left, and soon even if nobody reads it."""
    transport.close()
    if transport.get_write_buffer_size():
        loop.call_later(LINGER_S, transport.abort)
