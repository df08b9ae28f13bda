"""From a connection and its claims to a Caller. What a client says of itself is shown, never trusted."""

from typing import Any

from ..domain.caller import Caller, Peer
from ..domain.projects import directory
from ..domain.session_limits import DaemonSettings, session_limits
from .ancestry import describe
from .rpc.connection import Connection

_CLAIM = 200
_MAX_PID = 2**22


class Sessions:
    """Opens sessions; `daemon` is what their environments are compared with, replaced on a reload."""

    def __init__(self, daemon: DaemonSettings) -> None:
        self.daemon = daemon

    def opened(self, peer: Peer, nonce: str, preamble: dict[str, Any]) -> Caller:
        """The caller of an MCP session: the shim's nonce names it."""
        env = preamble.get("env")
        env = {str(name): str(value) for name, value in env.items()} if isinstance(env, dict) else {}
        limits, notices, refused = session_limits(env, self.daemon)
        return Caller(
            session=nonce,
            peer=peer,
            project=directory(_claim(preamble, "project_dir") or _claim(preamble, "cwd")),
            client=f"an MCP client (pid {_pid(preamble) or peer.pid})",
            limits=limits,
            notices=notices,
            spending_refused=refused,
            parents=describe(peer.pid),
        )

    def plain(self, connection: Connection) -> Caller:
        """The caller of plain RPC: all of one uid are one session, since none of them says who it is."""
        peer = connection.peer
        if peer.human:
            return Caller(
                session=f"human-{peer.uid}", peer=peer, client="a human", parents=describe(peer.pid)
            )
        return Caller(
            session=f"rpc-{peer.uid}",
            peer=peer,
            client=f"an RPC client (pid {peer.pid})",
            parents=describe(peer.pid),
        )


def _pid(preamble: dict[str, Any]) -> int:
    """Not a text: the owner reads it next to what the kernel says."""
    value = preamble.get("client_pid")
    return value if type(value) is int and 0 < value <= _MAX_PID else 0


def _claim(preamble: dict[str, Any], name: str) -> str:
    value = preamble.get(name)
    text = str(value) if isinstance(value, str | int) else ""
    return "".join(c for c in text[:_CLAIM] if c.isprintable())
