"""A fake toolbox, and MCP clients of a real Unix socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import mcp_types
import msgpack
from mcp.shared.message import SessionMessage

from aleph_agentd.domain.caller import Caller, Peer, Progress
from aleph_agentd.domain.errors import Denied, NotFound
from aleph_agentd.gateway.mcp_open import McpOpen
from aleph_agentd.gateway.mcp_server import LazyMcp
from aleph_agentd.gateway.methods import build_methods
from aleph_agentd.gateway.rpc.connection import Connection
from aleph_agentd.gateway.rpc.peer import Limits

from .rpc_fixtures import DEADLINE_S, Served, serving

NONCE = "0123456789abcdef" * 2
OBJECT = {"type": "object", "properties": {}}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def tool(name: str, **fields: Any) -> dict[str, Any]:
    """A tool in MCP's shape."""
    return {
        "name": name,
        "title": name.title(),
        "description": f"Does {name}.",
        "inputSchema": OBJECT,
        "outputSchema": OBJECT,
        "annotations": {"readOnlyHint": True, "title": name.title()},
        "_meta": {"anthropic/alwaysLoad": True},
        **fields,
    }


@dataclass
class FakeToolbox:
    """Answers as it is told, and remembers who asked."""

    instructions: str = "Rent VMs."
    tools: list[dict[str, Any]] = field(default_factory=lambda: [tool("echo"), tool("wait"), tool("fail")])
    calls: list[tuple[str, object, Caller, str | None]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    cancelled: int = 0

    def listing(self) -> list[dict[str, Any]]:
        """As the real one."""
        return self.tools

    async def call(
        self,
        name: str,
        arguments: object,
        *,
        caller: Caller,
        request_key: str | None,
        progress: Progress | None,
    ) -> dict[str, Any]:
        """As the real one."""
        self.calls.append((name, arguments, caller, request_key))
        match name:
            case "echo":
                return {"arguments": arguments, "session": caller.session}
            case "wait":
                return await self._wait(progress)
            case "deny":
                raise Denied("too dear", "choose a smaller one", code="max_spend")
            case "fail":
                raise RuntimeError("secret path")
            case "nan":
                return {"value": float("nan")}
            case "long":
                return {"text": "x" * 500_000}
        raise NotFound(f"there is no tool {name!r}", "tools: echo, wait")

    async def _wait(self, progress: Progress | None) -> dict[str, Any]:
        self.running += 1
        try:
            if progress:
                await progress(1, 2, "half way")
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return {"waited": True, "progress": progress is not None}


def caller_for(peer: Peer, nonce: str, preamble: dict[str, Any]) -> Caller:
    """What the app would make of a preamble."""
    return Caller(session=nonce, peer=peer, project=str(preamble.get("cwd", "")))


@dataclass
class McpServed:
    """A served socket with MCP behind it."""

    served: Served
    toolbox: FakeToolbox
    lazy: LazyMcp
    opener: McpOpen

    @asynccontextmanager
    async def transport(self, nonce: str = NONCE) -> AsyncIterator[Any]:
        """The memory streams that the SDK's client wants, over an upgraded connection."""
        reader, writer = await self.opened(nonce)
        to_client, from_server = anyio.create_memory_object_stream[Any](0)
        to_server, from_client = anyio.create_memory_object_stream[Any](0)

        async def receive() -> None:
            async with to_client:
                while line := await reader.readline():
                    message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                    await to_client.send(SessionMessage(message))

        async def send() -> None:
            async with from_client:
                async for item in from_client:
                    writer.write(
                        item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
                    )

        async with to_client, from_server, to_server, from_client, anyio.create_task_group() as group:
            group.start_soon(receive)
            group.start_soon(send)
            yield from_server, to_server
            group.cancel_scope.cancel()
        writer.close()

    async def opened(self, nonce: str = NONCE) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw connection after mcp.open."""
        reader, writer = await self.served.raw()
        writer.write(msgpack.packb([0, 1, "mcp.open", [{"nonce": nonce, "preamble": {"cwd": "/p"}}]]))
        answer = msgpack.packb([1, 1, None, {"ok": True, "protocol": 1, "version": "9"}])
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.readexactly(len(answer)) == answer
        return reader, writer

    async def handshaken(self, nonce: str = NONCE) -> "Raw":
        """A raw client of the legacy era after its handshake."""
        raw = Raw(*await self.opened(nonce))
        hello = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"},
        }
        await raw.ask(0, "initialize", hello)
        raw.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return raw


@dataclass
class Raw:
    """A client that sends what it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, message: object) -> None:
        """One line; bytes go as they are."""
        self.writer.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    def request(self, id_: object, method: str, params: dict[str, Any] | None = None) -> None:
        """Send a request."""
        self.send({"jsonrpc": "2.0", "id": id_, "method": method, "params": params or {}})

    def call(self, id_: object, name: str, arguments: object = None) -> None:
        """Send a tool call."""
        self.request(id_, "tools/call", {"name": name, "arguments": arguments or {}})

    async def next(self) -> dict[str, Any]:
        """The next message."""
        async with asyncio.timeout(DEADLINE_S):
            line = await self.reader.readline()
        return json.loads(line)

    async def ask(self, id_: object, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and read one message."""
        self.request(id_, method, params)
        return await self.next()


@asynccontextmanager
async def serving_mcp(
    directory: Path, toolbox: Any, limits: Limits | None = None, approvals: Any = None
) -> AsyncIterator[McpServed]:
    """Serve a toolbox over MCP and RPC; with `approvals`, its clients may be asked."""
    lazy = LazyMcp(toolbox, "9", approvals)
    opener = McpOpen(lazy, caller_for, "9")

    def caller_of(connection: Connection) -> Caller:
        return Caller(session="rpc", peer=connection.peer)

    methods = build_methods(toolbox, caller_of, "9", {"mcp.open": opener})
    async with serving(directory, methods, limits=limits) as served:
        yield McpServed(served, toolbox, lazy, opener)
