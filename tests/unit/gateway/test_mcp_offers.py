"""Resources and prompts, in both eras, over a real socket."""

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from aleph_agentd.domain.errors import Unavailable
from aleph_agentd.gateway.mcp_offers import PROMPTS, RESOURCES
from aleph_agentd.tools import toolbox

from .mcp_fixtures import NONCE, FakeToolbox, serving_mcp

ERAS = pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])


class Answering(FakeToolbox):
    """Knows the tools behind the resources."""

    async def call(self, name: str, arguments: object, **how: Any) -> dict[str, Any]:
        """As the real one."""
        match name:
            case "aleph_list_my_vms":
                return {"vms": [], "session": how["caller"].session}
            case "aleph_check_balance":
                raise Unavailable("no network", "try again")
            case "aleph_list_crns":
                raise RuntimeError("secret path")
        return await super().call(name, arguments, **how)


@ERAS
async def test_a_resource_is_the_answer_of_a_tool_that_only_reads(tmp_path: Path, mode: str) -> None:
    """For the session that asks, under the limits of tools."""
    async with serving_mcp(tmp_path, Answering()) as mcp, Client(mcp.transport(), mode=mode) as client:
        listed = (await client.list_resources()).resources
        assert [str(one.uri) for one in listed] == list(RESOURCES)
        [content] = (await client.read_resource("aleph://vms")).contents
        assert json.loads(content.text) == {"vms": [], "session": NONCE}


@ERAS
@pytest.mark.parametrize(
    ("uri", "told"),
    [("aleph://budget", "no network"), ("aleph://crns", "internal error"), ("file:///etc/x", "no such")],
)
async def test_a_resource_that_fails_says_why_and_leaks_nothing(
    tmp_path: Path, mode: str, uri: str, told: str
) -> None:
    """A refusal in words, a mistake of ours without them, and no path that somebody names is opened."""
    async with serving_mcp(tmp_path, Answering()) as mcp, Client(mcp.transport(), mode=mode) as client:
        with pytest.raises(MCPError) as failed:
            await client.read_resource(uri)
        assert told in str(failed.value)
        assert "secret" not in str(failed.value)


@ERAS
async def test_every_prompt_is_listed_and_filled(tmp_path: Path, mode: str) -> None:
    """What was not given takes its default; a value is text, never a template."""
    async with serving_mcp(tmp_path, Answering()) as mcp, Client(mcp.transport(), mode=mode) as client:
        listed = (await client.list_prompts()).prompts
        assert [one.name for one in listed] == list(PROMPTS)
        for prompt in listed:
            needed = {one.name: "$task {0}" for one in prompt.arguments or [] if one.required}
            got = await client.get_prompt(prompt.name, needed)
            assert got.messages[0].content.text.count("$task {0}") == len(needed)
        with pytest.raises(MCPError, match="missing: task"):
            await client.get_prompt("rent", {})
        rent = await client.get_prompt("rent", {"task": "a deployment", "hours": "3"})
        assert "Size: 1 CU, lease: 3 hours" in rent.messages[0].content.text


def test_resources_are_answered_by_tools_that_exist_and_only_read() -> None:
    """A client may read them whenever it likes."""
    tools = {tool.name: tool for tool in (*toolbox.ALL, *toolbox.RESOURCES)}
    assert all(tools[name].read_only for name, _, _ in RESOURCES.values())
