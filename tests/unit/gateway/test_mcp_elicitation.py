"""Asking through the client, in both eras: only where the owner lets it count, and only a ticked box is a yes."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from mcp import Client

from aleph_agentd.domain.approvals import BY_CLIENT
from aleph_agentd.gateway import mcp_elicitation
from aleph_agentd.tools.toolbox import Toolbox
from support.world import Machine, World
from support.world_fixtures import machine, short_pauses

from .mcp_fixtures import MODERN, NONCE, McpServed, Raw, serving_mcp

__all__ = ["machine", "short_pauses"]

MODES = ["legacy", "2026-07-28"]
BIG = {"name": "big", "ttl_hours": 8}
ELICITS = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}
TICKED = {"action": "accept", "content": {"approve": True}}


@pytest.fixture
async def world(machine: Machine) -> AsyncIterator[World]:
    """A daemon whose owner lets clients answer."""
    async with machine.life(human_approval_threshold_units=80_000, approval_by_client=True) as life:
        yield life


@pytest.fixture
async def mcp(world: World, tmp_path: Path) -> AsyncIterator[McpServed]:
    """It, served."""
    async with serving_mcp(tmp_path, Toolbox(world.services), approvals=world.services.approvals) as served:
        yield served


class Asked:
    """A client's user."""

    def __init__(self, action: str, content: dict[str, Any] | None = None) -> None:
        self.messages: list[str] = []
        self._answer = mcp_types.ElicitResult(action=action, content=content)  # type: ignore[arg-type]

    async def __call__(self, _context: Any, params: Any) -> mcp_types.ElicitResult:
        """Answer."""
        self.messages.append(params.message)
        return self._answer


@pytest.mark.parametrize("mode", MODES)
async def test_a_ticked_box_approves_and_is_marked_as_the_client_s(
    mcp: McpServed, world: World, mode: str
) -> None:
    """One call, from the question to the VM."""
    user = Asked("accept", {"approve": True})
    async with Client(mcp.transport(), mode=mode, elicitation_callback=user) as client:
        answer = (await client.call_tool("aleph_create_vm", BIG)).structured_content
        assert answer and (answer["status"], answer["name"]) == ("running", "big")
    [message] = user.messages
    assert "create big: 1 CU for 8 h" in message and "12.1125 credits (US$0.121125)" in message
    [approval] = await world.inventory.approvals(open_only=False, limit=9)
    assert (approval.state, approval.decided_by) == ("used", BY_CLIENT)
    assert any(BY_CLIENT in event.text for event in await world.inventory.events(0, 99))


@pytest.mark.parametrize("mode", MODES)
async def test_a_ticked_box_takes_an_orphan_in(mcp: McpServed, world: World, mode: str) -> None:
    """The call that asked answers what came of it, and asks nothing more."""
    orphan = "ab" * 32
    world.network.stranger(orphan)
    world.clock.forward(minutes=16)
    await world.services.sweeper.run()
    user = Asked("accept", {"approve": True})
    async with Client(mcp.transport(), mode=mode, elicitation_callback=user) as client:
        wanted = {"item_hash": orphan, "ttl_hours": 1}
        answer = (await client.call_tool("aleph_adopt_vm", wanted)).structured_content
    assert answer and (answer["status"], answer["item_hash"]) == ("adopted", orphan)
    [message] = user.messages
    assert "take in recovered-abababab" in message and "credits (US$" in message
    assert [vm.session for vm in await world.rows()] == [NONCE]


@pytest.mark.parametrize("mode", MODES)
async def test_a_ticked_box_extends_once_and_asks_once(mcp: McpServed, world: World, mode: str) -> None:
    """The call is run again to be answered: that is no second extension. The next call is."""
    user = Asked("accept", {"approve": True})
    async with Client(mcp.transport(), mode=mode, elicitation_callback=user) as client:
        made = (await client.call_tool("aleph_create_vm", {"name": "box", "ttl_hours": 1})).structured_content
        assert made is not None
        more = {"item_hash": "box", "additional_hours": 7}
        answer = (await client.call_tool("aleph_extend_vm", more)).structured_content
        assert answer and answer["status"] == "extended"
        [vm] = await world.rows()
        assert (vm.lease_version, len(user.messages)) == (2, 1)
        again = (await client.call_tool("aleph_extend_vm", more)).structured_content
        assert again and again["status"] == "extended" and len(user.messages) == 2
        assert (await world.row(vm)).lease_version == 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("action", "content", "state"),
    [
        ("decline", None, "denied"),
        ("accept", {"approve": False}, "denied"),
        ("accept", {"approve": "yes"}, "denied"),
        ("accept", None, "denied"),
        ("cancel", None, "waiting"),
    ],
)
async def test_anything_else_is_no_yes(
    mcp: McpServed, world: World, mode: str, action: str, content: Any, state: str
) -> None:
    """A form that was dismissed leaves it to the owner."""
    user = Asked(action, content)
    async with Client(mcp.transport(), mode=mode, elicitation_callback=user) as client:
        answer = (await client.call_tool("aleph_create_vm", BIG)).structured_content
        assert answer and answer["status"] == "awaiting_approval"
    assert len(user.messages) == 1
    states = {row.state for row in await world.inventory.approvals(open_only=False, limit=9)}
    assert state in states and not states & {"approved", "used"}
    assert await world.rows() == []


@pytest.mark.parametrize("mode", MODES)
async def test_the_owner_must_have_allowed_it(mcp: McpServed, world: World, mode: str) -> None:
    """By default nobody asks the client."""
    treasury = world.services.treasury
    treasury.limits = replace(treasury.limits, approval_by_client=False)
    user = Asked("accept", {"approve": True})
    async with Client(mcp.transport(), mode=mode, elicitation_callback=user) as client:
        answer = (await client.call_tool("aleph_create_vm", BIG)).structured_content
        assert answer and answer["status"] == "awaiting_approval"
    assert user.messages == [] and await world.rows() == []


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_cannot_be_asked_is_not(mcp: McpServed, world: World, mode: str) -> None:
    """It gets the answer that tells of the owner."""
    async with Client(mcp.transport(), mode=mode) as client:
        answer = (await client.call_tool("aleph_create_vm", BIG)).structured_content
        assert answer and answer["status"] == "awaiting_approval"
    assert await world.rows() == []


async def test_a_client_that_never_answers_is_not_waited_for_for_ever(
    mcp: McpServed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence is no yes; the owner still can decide."""
    monkeypatch.setattr(mcp_elicitation, "ANSWER_S", 0.05)
    raw = await shaken(mcp)
    raw.call(1, "aleph_create_vm", BIG)
    question = await raw.next()
    assert question["method"] == "elicitation/create"
    answer = await _result_of(raw, 1)
    assert answer["structuredContent"]["status"] == "awaiting_approval"
    raw.send({"jsonrpc": "2.0", "id": question["id"], "result": TICKED})
    assert (await raw.ask(2, "ping"))["id"] == 2
    await world.quiet()
    assert await world.rows() == []
    assert len(world.services.approvals.alerts()) == 1


async def test_a_modern_state_is_opaque_and_good_for_its_own_call_once(mcp: McpServed, world: World) -> None:
    """Another session's, another call's, a forged or a used one decides nothing; nor does an answer without one."""
    mine, other = Raw(*await mcp.opened()), Raw(*await mcp.opened("f" * 32))
    token = await _token(mine, 1, BIG)
    assert not any(word in token for word in ("ap-", "big", NONCE))
    for attempt, (raw, arguments, state) in enumerate(
        [
            (other, BIG, token),
            (mine, BIG | {"compute_units": 2}, token),
            (mine, BIG, "forged"),
            (mine, BIG, None),
        ]
    ):
        answer = await _retry(raw, 10 + attempt, arguments, state)
        assert answer["structuredContent"]["status"] == "awaiting_approval"
    await world.quiet()
    assert await world.rows() == []
    answer = await _retry(mine, 20, BIG, token)
    assert (answer["structuredContent"]["status"], answer["resultType"]) == ("running", "complete")
    again = await _retry(mine, 21, BIG | {"name": "two"}, token)
    assert again["structuredContent"]["status"] == "awaiting_approval"
    assert len(await world.rows()) == 1


async def shaken(mcp: McpServed) -> Raw:
    """A raw client of the handshake era that can be asked."""
    raw = Raw(*await mcp.opened())
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "raw", "version": "1"},
    }
    await raw.ask(0, "initialize", hello)
    raw.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    return raw


async def _result_of(raw: Raw, id_: int) -> dict[str, Any]:
    while (message := await raw.next()).get("id") != id_ or "method" in message:
        pass
    return dict(message["result"])


async def _token(raw: Raw, id_: int, arguments: dict[str, Any]) -> str:
    params = {"name": "aleph_create_vm", "arguments": arguments, "_meta": MODERN | ELICITS}
    result = (await raw.ask(id_, "tools/call", params))["result"]
    assert result["resultType"] == "input_required"
    return str(result["requestState"])


async def _retry(raw: Raw, id_: int, arguments: dict[str, Any], state: str | None) -> dict[str, Any]:
    params: dict[str, Any] = {
        "name": "aleph_create_vm",
        "arguments": arguments,
        "_meta": MODERN | ELICITS,
        "inputResponses": {"approval": TICKED},
    }
    if state is not None:
        params["requestState"] = state
    return dict((await raw.ask(id_, "tools/call", params))["result"])
