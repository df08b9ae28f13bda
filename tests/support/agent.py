"""A real MCP client on the real shim, as an agent's host runs it."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from support.daemon import DaemonProcess
from support.service import Service

ANSWER_S = 90.0


class Agent:
    """One MCP session."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.progress: list[str] = []

    async def tools(self) -> dict[str, Any]:
        """The tools it is offered, by name."""
        return {tool.name: tool for tool in (await self._client.list_tools()).tools}

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured answer of a call that succeeds."""
        result = await self._client.call_tool(tool, arguments, ANSWER_S, self._progress)
        assert not result.is_error, words(result)
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    async def refusal(self, tool: str, arguments: dict[str, Any]) -> str:
        """The words of a call that is refused: a result with isError."""
        result = await self._client.call_tool(tool, arguments, ANSWER_S)
        assert result.is_error
        return words(result)

    async def failure(self, tool: str, arguments: dict[str, Any]) -> str:
        """The words of a call that never became one: an error of the protocol."""
        try:
            await self._client.call_tool(tool, arguments, ANSWER_S)
        except mcp.MCPError as error:
            return str(error)
        raise AssertionError("it was answered")

    async def _progress(self, _done: float, _total: float | None, message: str | None) -> None:
        self.progress.append(message or "")


def words(result: Any) -> str:
    """The text of an answer."""
    return " ".join(part.text for part in result.content if part.type == "text")


@asynccontextmanager
async def session(
    daemon: "DaemonProcess | Service",
    folder: Path,
    *,
    mode: Any = "auto",
    environment: dict[str, str] | None = None,
    account: Sequence[str] = (),
) -> AsyncIterator[Agent]:
    """An open session; its shim ends with it. `account` is what in front of a command makes it another user's."""
    command, *arguments = [*account, sys.executable, "-m", "aleph_agent_mcp"]
    shim = StdioServerParameters(
        command=command,
        args=arguments,
        env={**daemon.shim_environment(), **(environment or {})},
        cwd=folder,
    )
    with (folder / "shim.log").open("w") as errors:
        async with Client(stdio_client(shim, errors), read_timeout_seconds=ANSWER_S, mode=mode) as client:
            yield Agent(client)
