"""`mcp.open`: the RPC request with which a shim's connection becomes an MCP session."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from aleph_agentd.domain.caller import Caller, Peer
from aleph_agentd.domain.errors import BadInput, Unavailable
from aleph_agentd.gateway.ancestry import Clients
from aleph_agentd.gateway.mcp_server import LazyMcp
from aleph_agentd.gateway.methods import refuse_newer
from aleph_agentd.gateway.rpc.connection import Connection
from aleph_agentd.gateway.rpc.protocol import Params

PROTOCOL = 1
MAX_SESSIONS_PER_UID = 64
MAX_SESSIONS_PER_PROCESS = 16
"""A shim has one."""
MAX_ENTRIES = 64
MAX_TEXT = 4096
NONCE = re.compile(r"[0-9a-f]{32}")

OpenSession = Callable[[Peer, str, dict[str, Any]], Caller]
"""Turns the peer, the shim's nonce and its (claimed) preamble into a Caller; may refuse."""


class McpOpen:
    """The handler of `mcp.open {nonce, preamble}`."""

    def __init__(
        self, mcp: LazyMcp, open_session: OpenSession, version: str, clients: Clients | None = None
    ) -> None:
        self._mcp = mcp
        self._open_session = open_session
        self._version = version
        self._clients = clients or Clients()
        self._sessions: Counter[tuple[str, int]] = Counter()
        """Open ones, by uid and by process."""

    @property
    def sessions(self) -> int:
        """How many MCP sessions are open."""
        return sum(count for (what, _), count in self._sessions.items() if what == "uid")

    def __call__(self, connection: Connection, params: Params) -> object:
        """Answer once, then hand the connection to a session."""
        refuse_newer(params.get("version"), PROTOCOL)
        nonce, preamble = _checked(params)
        limits = {
            ("uid", connection.peer.uid): MAX_SESSIONS_PER_UID,
            ("process", connection.peer.pid): MAX_SESSIONS_PER_PROCESS,
        }
        for whose, most in limits.items():
            if self._sessions[whose] >= most:
                raise Unavailable(
                    f"{whose[0]} {whose[1]} has {most} MCP sessions open",
                    "end an agent that is no longer used",
                )
        self._clients.opened(connection.peer)
        caller = self._open_session(connection.peer, nonce, preamble)

        async def session(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, draining: asyncio.Event
        ) -> None:
            server = await self._mcp.get()
            await server.serve(
                reader, writer, draining, caller=caller, nonce=nonce, turn=connection.pace.turn
            )

        connection.upgrade(session)
        self._sessions.update(limits.keys())
        connection.on_close(lambda: self._closed(limits))
        return {"ok": True, "protocol": PROTOCOL, "version": self._version}

    def _closed(self, counted: Iterable[tuple[str, int]]) -> None:
        self._sessions -= Counter(counted)  # what is zero is let go of: processes come and go for years


def _checked(params: Params) -> tuple[str, dict[str, Any]]:
    problems = []
    nonce, preamble = params.get("nonce"), params.get("preamble", {})
    if not isinstance(nonce, str) or not NONCE.fullmatch(nonce):
        problems.append("nonce: 32 lower-case hexadecimal digits")
        nonce = ""
    if not isinstance(preamble, dict) or not _is_plain(preamble, nested=True):
        problems.append(
            f"preamble: a map of at most {MAX_ENTRIES} texts of at most {MAX_TEXT} characters, numbers or such maps"
        )
    if problems:
        raise BadInput("; ".join(problems), "update aleph-agent-mcp and aleph-agentd together")
    return nonce, preamble


def _is_plain(claims: dict[str, Any], *, nested: bool) -> bool:
    def fits(value: object) -> bool:
        if isinstance(value, dict):
            return nested and _is_plain(value, nested=False)
        return value is None or isinstance(value, int) or (isinstance(value, str) and len(value) <= MAX_TEXT)

    return len(claims) <= MAX_ENTRIES and all(
        len(key) <= MAX_TEXT and fits(value) for key, value in claims.items()
    )
