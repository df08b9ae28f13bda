"""The real Claude Code, with a scripted stand-in for its model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.daemon import DaemonProcess

from .claude_code import SERVER, ClaudeCode, text_of
from .course import LASTING, MISTAKES, SHIM, TOOLS, check_mistakes, check_whole_life, whole_life
from .mock_messages_api import MockMessagesApi

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

MODERN = "2026-07-28"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"


def test_it_adds_the_server_and_connects(claude_code: ClaudeCode) -> None:
    """The set-up that the README tells, without a login."""
    assert f"Added stdio MCP server {SERVER}" in claude_code.add_server(*SHIM)
    listed = claude_code.mcp("list")
    assert "Connected" in listed
    assert "-m aleph_agent_mcp" in listed
    shown = claude_code.mcp("get", SERVER)
    assert "Connected" in shown
    assert "Type: stdio" in shown


@dataclass
class Conversation:
    """A whole life of a VM in one `claude -p`."""

    name: str
    api: MockMessagesApi
    said: list[dict[str, Any]]
    """Every message that the client sent to the server."""


@pytest.fixture(scope="module", params=["legacy", "auto"])
def era(request: pytest.FixtureRequest) -> str:
    """Which protocol era the client is told to speak."""
    return str(request.param)


@pytest.fixture(scope="module")
def conversation(era: str, daemon: DaemonProcess, tmp_path_factory: pytest.TempPathFactory) -> Conversation:
    """All tools but one, one after another, with what the client says recorded on the way to the shim."""
    folder = tmp_path_factory.mktemp("claude")
    claude_code, record, name = ClaudeCode(daemon, folder), folder / "said.jsonl", f"box-{era}"
    claude_code.add_server("sh", "-c", 'tee "$0" | exec "$@"', str(record), *SHIM)
    api = claude_code.converse(era, *whole_life(name))
    return Conversation(name, api, [json.loads(line) for line in record.read_text().splitlines()])


def test_a_conversation_lives_the_whole_life_of_a_vm(
    conversation: Conversation, daemon: DaemonProcess
) -> None:
    """The model sees each answer as structured JSON, and the network agrees with every one of them."""
    results = conversation.api.tool_results()
    assert {tool for tool, _ in whole_life("")} == TOOLS - LASTING
    assert not [text_of(result) for result in results if result.get("is_error")]
    check_whole_life(conversation.name, [json.loads(text_of(result)) for result in results], daemon)


def test_the_conversation_is_held_in_the_era_asked_for(conversation: Conversation, era: str) -> None:
    """Legacy shakes hands; modern carries its version in every request."""
    calls = [message for message in conversation.said if message.get("method") == "tools/call"]
    versions = {message["params"].get("_meta", {}).get(VERSION_KEY) for message in calls}
    assert len(calls) == len(whole_life(""))
    assert conversation.said[0]["method"] == ("initialize" if era == "legacy" else "server/discover")
    assert versions == {None if era == "legacy" else MODERN}


def test_the_model_knows_the_server_before_it_calls_it(conversation: Conversation) -> None:
    """Instructions are in the prompt, the core tools with their schemas, the others by their names."""
    prompt, tools = conversation.api.prompt(), conversation.api.tools()
    assert "Rents VMs on Aleph Cloud" in prompt
    assert all(name in prompt for name in TOOLS)
    core = {"aleph_check_balance", "aleph_create_vm", "aleph_list_my_vms", "aleph_destroy_vm"}
    assert {f"mcp__{SERVER}__{name}" for name in core} <= tools.keys()


def test_mistakes_are_explained_to_the_model(
    era: str, claude_code: ClaudeCode, daemon: DaemonProcess
) -> None:
    """An error's text says what was wrong, all of it, and what to do next."""
    claude_code.add_server(*SHIM)
    results = claude_code.converse(era, *(call for call, _ in MISTAKES)).tool_results()
    assert all(result.get("is_error") for result in results)
    check_mistakes([text_of(result) for result in results], daemon)


def test_a_second_session_sees_a_vm_but_not_its_name(
    claude_code: ClaudeCode, tmp_path: Path, daemon: DaemonProcess
) -> None:
    """Names belong to one session: another one lists the VM, and must destroy it by its full hash."""
    claude_code.add_server(*SHIM)
    first = claude_code.converse("auto", ("aleph_create_vm", {"name": "shared", "ttl_hours": 0.1}))
    item_hash = json.loads(text_of(first.tool_results()[0]))["item_hash"]
    second = claude_code.converse(
        "auto",
        ("aleph_destroy_vm", {"item_hash": "shared"}),
        ("aleph_list_my_vms", {}),
        ("aleph_destroy_vm", {"item_hash": item_hash}),
    )
    by_name, listed, by_hash = second.tool_results()
    assert by_name.get("is_error")
    assert "full item_hash" in text_of(by_name)
    assert [vm["mine"] for vm in json.loads(text_of(listed))["vms"]] == [False]
    assert json.loads(text_of(by_hash))["status"] == "destroyed"
    assert daemon.leaves_nothing()
