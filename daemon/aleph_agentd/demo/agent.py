"""The demo's agent: a real MCP client on the real shim. The only importer of the mcp package's client."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import TextContent

from aleph_agentd.demo.failure import DemoFailed
from aleph_agentd.demo.narrator import Narrator
from aleph_agentd.demo.stage import Stage

ANSWER_S = 100.0


class Agent:
    """One MCP session."""

    def __init__(self, client: Client, narrator: Narrator) -> None:
        self._client = client
        self._narrator = narrator

    async def tools(self) -> list[str]:
        """The names of the tools it is offered."""
        return [tool.name for tool in (await self._client.list_tools()).tools]

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool; DemoFailed if the daemon refuses."""
        result = await self._client.call_tool(tool, arguments, ANSWER_S, self._progress)
        if result.is_error or not isinstance(result.structured_content, dict):
            said = " ".join(part.text for part in result.content if isinstance(part, TextContent))
            raise DemoFailed(f"{tool} was refused: {said}")
        return result.structured_content

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        self._narrator.progress(message or f"{progress:g} of {total or '?'}")


@asynccontextmanager
async def session(stage: Stage, narrator: Narrator) -> AsyncIterator[Agent]:
    """An open session; its shim ends with it."""
    shim = StdioServerParameters(
        command=sys.executable, args=["-m", "aleph_agent_mcp"], env=stage.shim_env(), cwd=stage.folder
    )
    with (stage.folder / "shim.log").open("w") as errors:
        try:
            async with Client(stdio_client(shim, errors), read_timeout_seconds=ANSWER_S) as client:
                yield Agent(client, narrator)
        except BaseExceptionGroup as group:
            raise _innermost(group) from None


def _innermost(problem: BaseException) -> BaseException:
    """The client's task groups wrap what happened inside them."""
    while isinstance(problem, BaseExceptionGroup) and len(problem.exceptions) == 1:
        problem = problem.exceptions[0]
    return problem
