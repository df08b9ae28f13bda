"""Every sample prompt of the mission ends well: in the real Claude Code, and in a client that has no shell at all.

Claude Code plays each of them in one era, the first in legacy, the next in modern, and so on; the Python client plays
each of them in both.
"""

import asyncio
import json

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from support.daemon import DaemonProcess

from .claude_code import ClaudeCode, text_of
from .course import SHIM
from .sample_prompts import SAMPLES, calls_of

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

ERA_OF = {name: ("legacy", "auto")[number % 2] for number, name in enumerate(SAMPLES)}


@pytest.fixture(scope="module")
def added(daemon: DaemonProcess, tmp_path_factory: pytest.TempPathFactory) -> ClaudeCode:
    """One Claude Code for all of them, with our server."""
    claude_code = ClaudeCode(daemon, tmp_path_factory.mktemp("samples"))
    claude_code.add_server(*SHIM)
    return claude_code


@pytest.mark.parametrize("name", SAMPLES)
def test_claude_code_ends_it_well(name: str, added: ClaudeCode, daemon: DaemonProcess) -> None:
    """No call fails, the user can be told what was asked, and nothing is left."""
    sample = SAMPLES[name]
    results = added.converse(ERA_OF[name], *calls_of(sample, daemon.net.crns[0]["name"])).tool_results()
    assert len(results) == len(sample.calls)
    assert not [text_of(result) for result in results if result.get("is_error")]
    assert sample.told([json.loads(text_of(result)) for result in results])
    assert daemon.leaves_nothing(), daemon.live_instances()


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_without_a_shell_ends_all_of_them_well(mode: str, daemon: DaemonProcess) -> None:
    """The same transcripts with our tools alone, in a session each."""
    crn = daemon.net.crns[0]["name"]
    for name, sample in SAMPLES.items():
        shim = StdioServerParameters(command=SHIM[0], args=SHIM[1:], env=daemon.shim_environment())
        async with Client(stdio_client(shim), mode=mode, read_timeout_seconds=60) as client:
            answers = []
            for tool, arguments in calls_of(sample, crn):
                result = await client.call_tool(tool, arguments)
                assert not result.is_error, (name, result.content)
                answers.append(result.structured_content or {})
        assert sample.told(answers), (name, answers)
    assert await asyncio.to_thread(daemon.leaves_nothing)
