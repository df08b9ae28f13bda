"""An MCP session whose preamble says what it likes: no shim, only bytes on agent.sock."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack

ANSWER_S = 60.0
_MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "liar", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
}


class Liar:
    """One session."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._asked = 0

    async def call(self, tool: str, arguments: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """The structured answer."""
        result = await self._result(tool, arguments, more)
        assert not result["isError"], result
        return dict(result["structuredContent"])

    async def refusal(self, tool: str, arguments: Mapping[str, Any], **more: Any) -> str:
        """The words of a refusal."""
        result = await self._result(tool, arguments, more)
        assert result["isError"], result
        return str(result["content"][0]["text"])

    async def _result(
        self, tool: str, arguments: Mapping[str, Any], more: Mapping[str, Any]
    ) -> dict[str, Any]:
        self._asked += 1
        params = {"name": tool, "arguments": arguments, "_meta": _MODERN, **more}
        request = {"jsonrpc": "2.0", "id": self._asked, "method": "tools/call", "params": params}
        self._writer.write(json.dumps(request).encode() + b"\n")
        return dict(json.loads(await asyncio.wait_for(self._reader.readline(), ANSWER_S))["result"])


@asynccontextmanager
async def liar(path: Path, preamble: Mapping[str, Any]) -> AsyncIterator[Liar]:
    """A session under this preamble."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=2**21)
    try:
        opening = {"nonce": secrets.token_hex(16), "preamble": dict(preamble)}
        writer.write(msgpack.packb([0, 1, "mcp.open", [opening]]))
        _, _, error, _ = msgpack.unpackb(await asyncio.wait_for(reader.read(4096), ANSWER_S))
        assert error is None, error
        yield Liar(reader, writer)
    finally:
        writer.transport.abort()
