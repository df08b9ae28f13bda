"""Every sample prompt of the mission ends well: in the real Claude Code, and in a client that has no shell at all.

What the user is told is held against devnet's truth, and so is that nothing is left.
"""

import asyncio
import shutil
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from aleph_devnet import sandbox
from support.daemon import DaemonProcess

from .claude_code import ClaudeCode, text_of
from .course import SHIM
from .sample_prompts import SAMPLES, Sample, missing
from .script import filled
from .truth import Truth

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]


def lacking(sample: Sample) -> str:
    """Why its VM could not run what it has to; empty when it can."""
    if not sample.runs:
        return ""
    if any(map(shutil.which, sample.runs)):
        return sandbox.trouble()
    return f"there is no {' and no '.join(sample.runs)} here"


PARAMETERS = [
    pytest.param(one, id=name, marks=pytest.mark.skipif(bool(lacking(one)), reason=lacking(one)))
    for name, one in SAMPLES.items()
]


@pytest.fixture(scope="module")
def added(daemon: DaemonProcess, tmp_path_factory: pytest.TempPathFactory) -> ClaudeCode:
    """One Claude Code for all of them, with our server."""
    claude_code = ClaudeCode(daemon, tmp_path_factory.mktemp("samples"))
    claude_code.add_server(*SHIM)
    return claude_code


@pytest.mark.parametrize("era", ["legacy", "auto"])
@pytest.mark.parametrize("sample", PARAMETERS)
def test_claude_code_ends_it_well(sample: Sample, era: str, added: ClaudeCode, daemon: DaemonProcess) -> None:
    """No call fails, it prints what was asked for, and nothing is left."""
    truth = Truth(daemon)
    between = {number: lambda do=do: do(truth) for number, do in sample.between.items()}
    api = added.converse(era, *sample.calls, says=sample.says, between=between)
    results = api.tool_results()
    assert not [text_of(result) for result in results if result.get("is_error")]
    assert len(results) == len(sample.calls)
    assert missing(sample.words(truth), api.printed) == [], api.printed
    assert truth.nothing_is_left(), daemon.live_instances()


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
@pytest.mark.parametrize("sample", PARAMETERS)
async def test_a_client_without_a_shell_ends_it_well(
    sample: Sample, mode: str, daemon: DaemonProcess
) -> None:
    """The same transcript in a session that has our tools, and nothing else."""
    truth = await asyncio.to_thread(Truth, daemon)
    shim = StdioServerParameters(command=SHIM[0], args=SHIM[1:], env=daemon.shim_environment())
    async with Client(stdio_client(shim), mode=mode, read_timeout_seconds=90) as client:
        answers = await _play(client, sample, truth)
    said = filled(sample.says, answers)
    assert missing(await asyncio.to_thread(sample.words, truth), said) == [], said
    assert await asyncio.to_thread(truth.nothing_is_left)


async def _play(client: Client, sample: Sample, truth: Truth) -> list[Any]:
    answers: list[Any] = []
    for number, (tool, arguments) in enumerate(sample.calls):
        if number in sample.between:
            await asyncio.to_thread(sample.between[number], truth)
        result = await client.call_tool(tool, filled(arguments, answers))
        assert not result.is_error, result.content
        answers.append(result.structured_content)
    return answers
