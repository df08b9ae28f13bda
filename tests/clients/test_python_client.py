"""The official Python client over stdio, in each of its modes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent, Tool

from support.daemon import DaemonProcess

from .course import MISTAKES, SHIM, TOOLS, check_ended, check_mistakes, check_whole_life, whole_life

pytestmark = pytest.mark.clients

PINNED = "2026-07-28"
ANSWER_S = 90.0
LIST_TOKENS, CREATE_TOKENS, CHARACTERS_PER_TOKEN = 1900, 350, 4
HINTS = ("title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")

Connect = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture(params=["legacy", "auto", PINNED])
def mode(request: pytest.FixtureRequest) -> str:
    """How the client finds the era: old handshake, discovery, or a version that it insists on."""
    return str(request.param)


@pytest.fixture
def connect(daemon: DaemonProcess, mode: str, tmp_path: Path) -> Connect:
    """Opens a session through a shim of its own, which must find nothing to complain about."""

    @asynccontextmanager
    async def session() -> AsyncIterator[Client]:
        shim = StdioServerParameters(command=SHIM[0], args=SHIM[1:], env=daemon.shim_environment())
        with (tmp_path / "shim.log").open("w+") as log:
            async with Client(stdio_client(shim, log), mode=mode, read_timeout_seconds=ANSWER_S) as client:
                yield client
            log.seek(0)
            assert log.read() == ""

    return session


async def test_it_lives_the_whole_life_of_a_vm(connect: Connect, mode: str, daemon: DaemonProcess) -> None:
    """All tools but the lasting one; every answer fits the schema that its tool promises (the client checks that)."""
    async with connect() as client:
        await client.list_tools()
        answers = []
        for tool, arguments in whole_life(f"py-{mode}"):
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, text_of(result)
            assert json.loads(text_of(result)) == result.structured_content
            answers.append(result.structured_content or {})
        await asyncio.to_thread(check_whole_life, f"py-{mode}", answers, daemon)


async def test_mistakes_are_explained(connect: Connect, daemon: DaemonProcess) -> None:
    """Refusals are results with isError, not protocol errors: only those reach a model."""
    async with connect() as client:
        results = [await client.call_tool(tool, arguments) for (tool, arguments), _ in MISTAKES]
        assert all(result.is_error and result.structured_content is None for result in results)
        await asyncio.to_thread(check_mistakes, [text_of(result) for result in results], daemon)


async def test_an_unknown_tool_is_answered_with_the_known_ones(connect: Connect) -> None:
    """A model that guessed a name can go on."""
    async with connect() as client:
        result = await client.call_tool("aleph_mine_bitcoin", {})
        assert result.is_error
        assert all(name in text_of(result) for name in TOOLS)


async def test_waiting_tells_how_far_it_is(connect: Connect, mode: str, daemon: DaemonProcess) -> None:
    """While the CRN does not say where the VM is, progress comes; once it does, the answer."""
    async with connect() as client:
        net, name, told = daemon.net, f"slow-{mode}", asyncio.Queue[tuple[float, str]]()
        await net.call(net.fault, {"status": 503, "body": "busy"}, path="/v2/about/executions/list")

        async def progress(progress: float, total: float | None, message: str | None) -> None:
            told.put_nowait((progress, message or ""))

        try:
            create = asyncio.create_task(
                client.call_tool("aleph_create_vm", {"name": name, "ttl_hours": 0.1})
            )
            await _listed(client, name)
            wait = asyncio.create_task(
                client.call_tool("aleph_wait_vm", {"item_hash": name}, progress_callback=progress)
            )
            first = await asyncio.wait_for(told.get(), ANSWER_S)
            second = await asyncio.wait_for(told.get(), ANSWER_S)
        finally:
            await net.call(net.clear_faults)
        assert name in first[1]
        assert second[0] > first[0]
        waited, created = await wait, await create
        assert (waited.structured_content or {})["ready"] is True
        ended = await client.call_tool("aleph_destroy_vm", {"item_hash": name})
        assert (ended.structured_content or {})["status"] == "destroyed"
        await asyncio.to_thread(check_ended, (created.structured_content or {})["item_hash"], daemon)


async def _listed(client: Client, name: str) -> None:
    async with asyncio.timeout(ANSWER_S):
        while True:
            mine = await client.call_tool("aleph_list_my_vms", {})
            if name in {vm["name"] for vm in (mine.structured_content or {})["vms"]}:
                return
            await asyncio.sleep(0.05)


async def test_the_listing_costs_a_model_little(connect: Connect) -> None:
    """What reaches a model of each tool: name, description and the schema of its arguments."""
    async with connect() as client:
        costs = {tool.name: tokens(tool) for tool in (await client.list_tools()).tools}
        assert costs.keys() == TOOLS
        assert sum(costs.values()) <= LIST_TOKENS, costs
        assert costs["aleph_create_vm"] <= CREATE_TOKENS, costs


async def test_annotations_are_complete(connect: Connect) -> None:
    """Some clients refuse tools that do not say what they do."""
    async with connect() as client:
        for tool in (await client.list_tools()).tools:
            assert tool.annotations is not None
            given = tool.annotations.model_dump(by_alias=True)
            assert [hint for hint in HINTS if given.get(hint) is None] == [], tool.name
            assert tool.output_schema is not None
            assert given["readOnlyHint"] == (
                tool.name
                not in (
                    "aleph_create_vm",
                    "aleph_extend_vm",
                    "aleph_destroy_vm",
                    "aleph_vm_power",
                    "aleph_vm_run",
                    "aleph_vm_copy",
                    "aleph_adopt_vm",
                    "aleph_freeze",
                )
            )
            assert given["destructiveHint"] == (
                tool.name in ("aleph_destroy_vm", "aleph_vm_power", "aleph_vm_run", "aleph_vm_copy")
            )


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_server_says_what_it_is_for(connect: Connect) -> None:
    """Instructions come in both eras (a pinned client never asks), and fit into what clients keep of them."""
    async with connect() as client:
        assert "Rents VMs" in (client.instructions or "")
        assert len(client.instructions or "") <= 4096


def tokens(tool: Tool) -> float:
    """Roughly; a tokenizer's count is a little higher for braces and a little lower for words."""
    seen = json.dumps([tool.name, tool.description, tool.input_schema], separators=(",", ":"))
    return len(seen) / CHARACTERS_PER_TOKEN


def text_of(result: CallToolResult) -> str:
    """The text of a result."""
    return "".join(part.text for part in result.content if isinstance(part, TextContent))
