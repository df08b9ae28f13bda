"""A human above the threshold, as Claude Code and the Python client meet it."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess
from support.owner import SECRET, approve, set_passphrase

from .claude_code import SERVER, ClaudeCode, text_of
from .course import SHIM, check_ended
from .mock_messages_api import MockMessagesApi

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

ANSWER_S = 90.0
SHELL = """
import asyncio, json, sys
from pathlib import Path
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import open_client
async def main():
    async with open_client(Path(sys.argv[1])) as client:
        [row] = (await client.call("approvals.list", {}))["approvals"]
        try:
            await client.call("approvals.approve", {"id": row["id"], "passphrase": sys.argv[2]})
        except Refusal as refusal:
            print("refused:", refusal.code)
asyncio.run(main())
"""


@pytest.fixture
def own_daemon(devnet: DevnetProcess, request: pytest.FixtureRequest) -> Iterator[DaemonProcess]:
    """A daemon whose owner wants to be asked early, and perhaps lets clients answer."""
    environment = {
        "ALEPH_AGENT_HUMAN_APPROVAL_THRESHOLD": "8 cr",
        "ALEPH_AGENT_APPROVAL_BY_CLIENT": getattr(request, "param", "0"),
    }
    with DaemonProcess(devnet, environment=environment) as running:
        yield running


@pytest.fixture(params=["legacy", "auto"])
def era(request: pytest.FixtureRequest) -> str:
    """Which protocol era the client is told to speak."""
    return str(request.param)


async def test_a_conversation_waits_for_the_owner_and_gets_its_vm(
    own_daemon: DaemonProcess, tmp_path: Path, era: str
) -> None:
    """The create answers with the approval's id and creates nothing; after the yes, aleph_wait_vm sees the VM.

    On the way the agent's own shell, inside Claude Code, tries to approve with the right passphrase.
    """
    daemon = own_daemon
    await set_passphrase(daemon)
    claude_code = await asyncio.to_thread(ClaudeCode, daemon, tmp_path)
    await asyncio.to_thread(claude_code.add_server, *SHIM)
    (claude_code.project / "shell.py").write_text(SHELL)
    talking = asyncio.create_task(asyncio.to_thread(_converse, claude_code, era))
    row = await eventually(lambda: _waiting(daemon), "a request to wait", 90)
    assert row["what"] == "create big: 1 CU for 8 h, ubuntu22" and "claude" in row["parents"]
    assert row["project"] == str(claude_code.project)
    await eventually((claude_code.project / "tried").exists, "the agent's shell to try", 90)
    assert daemon.instances() == [] and not talking.done()
    await approve(daemon, row["id"])
    asked, tried, waited, listed, destroyed = await talking
    assert (asked["status"], asked["item_hash"], asked["approval_id"]) == (
        "awaiting_approval",
        None,
        row["id"],
    )
    assert f"aleph-agentctl approve {row['id']}" in asked["approval_message"]
    assert "refused: ancestry" in tried
    assert (waited["ready"], waited["name"]) == (True, "big")
    assert [vm["item_hash"] for vm in listed["vms"] if vm["mine"]] == [waited["item_hash"]]
    assert destroyed["status"] == "destroyed"
    await asyncio.to_thread(check_ended, waited["item_hash"], daemon)
    assert len(daemon.instances()) == 1


def _converse(claude_code: ClaudeCode, era: str) -> list[Any]:
    """What the model saw of each call: structured answers, and the text of its shell."""
    command = f"{sys.executable} shell.py {claude_code.daemon.control_socket} '{SECRET}'; touch tried"
    calls: list[tuple[str, dict[str, Any]]] = [
        (f"mcp__{SERVER}__aleph_create_vm", {"name": "big", "ttl_hours": 8}),
        ("Bash", {"command": command, "description": "Approve it myself"}),
        (f"mcp__{SERVER}__aleph_wait_vm", {"item_hash": "big", "timeout_s": 80}),
        (f"mcp__{SERVER}__aleph_list_my_vms", {}),
        (f"mcp__{SERVER}__aleph_destroy_vm", {"item_hash": "big"}),
    ]
    results = _play(claude_code, era, calls).tool_results()
    texts = [text_of(result) for result in results]
    assert not [t for t, r in zip(texts, results, strict=True) if r.get("is_error")], texts
    return [json.loads(text) if text.startswith("{") else text for text in texts]


def _play(claude_code: ClaudeCode, era: str, calls: list[tuple[str, dict[str, Any]]]) -> MockMessagesApi:
    script = "\n".join(f"CALL {tool} {json.dumps(arguments)}" for tool, arguments in calls)
    with MockMessagesApi() as api:
        done = claude_code.run(
            *("-p", script, "--allowedTools", f"mcp__{SERVER}__*", "Bash", "--output-format", "json"),
            ANTHROPIC_BASE_URL=api.url,
            ANTHROPIC_API_KEY="dummy",
            MCP_PROTOCOL_NEGOTIATION=era,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return api


async def _waiting(daemon: DaemonProcess) -> dict[str, Any] | None:
    rows = (await daemon.control("approvals.list"))["approvals"]
    return rows[0] if rows else None


@pytest.mark.parametrize("own_daemon", ["1"], indirect=True)
async def test_claude_code_without_a_user_answers_no_question(
    own_daemon: DaemonProcess, tmp_path: Path, era: str
) -> None:
    """`claude -p` dismisses an elicitation: the request waits for the owner, and nothing is created."""
    claude_code = await asyncio.to_thread(ClaudeCode, own_daemon, tmp_path)
    await asyncio.to_thread(claude_code.add_server, *SHIM)
    call = (f"mcp__{SERVER}__aleph_create_vm", {"name": "big", "ttl_hours": 8})
    api = await asyncio.to_thread(_play, claude_code, era, [call])
    [result] = api.tool_results()
    assert json.loads(text_of(result))["status"] == "awaiting_approval"
    assert own_daemon.instances() == []


@pytest.mark.parametrize("own_daemon", ["1"], indirect=True)
@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_an_elicitation_counts_where_the_owner_lets_it(own_daemon: DaemonProcess, mode: str) -> None:
    """In each era, through the real shim: a dismissed form creates nothing, a ticked box creates the VM."""
    answers = ["cancel", "accept"]

    async def user(_context: Any, params: Any) -> mcp_types.ElicitResult:
        action: Any = answers.pop(0)
        assert "create big: 1 CU for 8 h" in params.message
        return mcp_types.ElicitResult(
            action=action, content={"approve": True} if action == "accept" else None
        )

    shim = StdioServerParameters(command=SHIM[0], args=SHIM[1:], env=own_daemon.shim_environment())
    async with Client(
        stdio_client(shim), mode=mode, read_timeout_seconds=ANSWER_S, elicitation_callback=user
    ) as client:
        arguments = {"name": "big", "ttl_hours": 8}
        first = (await client.call_tool("aleph_create_vm", arguments)).structured_content or {}
        assert first["status"] == "awaiting_approval" and own_daemon.instances() == []
        second = (await client.call_tool("aleph_create_vm", arguments)).structured_content or {}
        assert second["status"] in ("provisioning", "running") and answers == []
        assert (await client.call_tool("aleph_destroy_vm", {"item_hash": "big"})).is_error is False
    rows = (await own_daemon.control("approvals.list", {"all": True}))["approvals"]
    assert [(row["state"], row["decided_by"]) for row in rows] == [("used", "client elicitation")]
