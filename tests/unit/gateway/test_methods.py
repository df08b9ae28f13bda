"""The methods that both sockets offer, through a real socket."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.domain.errors import Refusal

from .mcp_fixtures import FakeToolbox, serving_mcp


async def test_hello_says_who_serves_and_what(tmp_path: Path) -> None:
    """A client can see what this socket offers before it tries."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp, mcp.served.client() as client:
        assert await client.call("hello", {"client": "test", "version": "1"}) == {
            "server": "aleph-agentd",
            "version": "9",
            "protocol": 1,
            "methods": ["hello", "mcp.open", "ping", "tools.call", "tools.list"],
        }


@pytest.mark.parametrize("recorded", [{"client": "aleph-agent-mcp", "version": "0.0.1"}, {}, {"protocol": 0}])
async def test_an_older_client_is_greeted(tmp_path: Path, recorded: dict[str, Any]) -> None:
    """As it was recorded, with a protocol of its own or none at all."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp, mcp.served.client() as client:
        assert (await client.call("hello", recorded))["protocol"] == 1


@pytest.mark.parametrize(
    ("method", "params"),
    [("hello", {"protocol": 2}), ("mcp.open", {"nonce": "0" * 32, "version": 2, "preamble": {}})],
)
async def test_a_client_that_is_too_new_gets_one_clear_error(
    tmp_path: Path, method: str, params: dict[str, Any]
) -> None:
    """With the command that tells more; the connection lives on."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp, mcp.served.client() as client:
        with pytest.raises(Refusal) as caught:
            await client.call(method, params)
        assert caught.value.code == "protocol" and "upgrade-check" in caught.value.hint
        assert await client.call("ping")


async def test_a_recorded_older_shim_gets_its_session(tmp_path: Path) -> None:
    """What the first shim wrote: no version of the protocol, fewer claims."""
    recorded = {"nonce": "ab" * 16, "preamble": {"client_pid": 4242, "cwd": "/home/a"}}
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp, mcp.served.client() as client:
        assert (await client.call("mcp.open", recorded))["ok"] is True


async def test_ping_tells_the_daemons_time(tmp_path: Path) -> None:
    """In ISO form, with its zone."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp, mcp.served.client() as client:
        before = datetime.now(UTC)
        answer = await client.call("ping")
        assert answer["pong"] is True
        assert before <= datetime.fromisoformat(answer["now"]) <= datetime.now(UTC)


async def test_tools_are_listed_in_mcps_shape(tmp_path: Path) -> None:
    """Whoever reads MCP can read this."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp, mcp.served.client() as client:
        assert await client.call("tools.list") == {"tools": toolbox.tools}


async def test_a_tool_call_answers_the_structured_result(tmp_path: Path) -> None:
    """With the caller that the app made of the connection, and the client's request key as it is."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp, mcp.served.client() as client:
        params = {"name": "echo", "arguments": {"x": 1}, "request_key": "k1"}
        assert await client.call("tools.call", params) == {"arguments": {"x": 1}, "session": "rpc"}
        assert await client.call("tools.call", {"name": "echo"}) == {"arguments": {}, "session": "rpc"}
    assert [key for *_, key in toolbox.calls] == ["k1", None]


async def test_a_tools_refusal_is_the_rpc_error(tmp_path: Path) -> None:
    """The same words as over MCP, in fields."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp, mcp.served.client() as client:
        with pytest.raises(Refusal) as caught:
            await client.call("tools.call", {"name": "deny", "arguments": {}})
        assert (caught.value.code, caught.value.hint) == ("max_spend", "choose a smaller one")


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"name": 5},
        {"name": ""},
        {"name": "n" * 200},
        {"name": "echo", "request_key": 5},
        {"name": "echo", "request_key": "k" * 300},
        {"name": "echo", "request_key": ""},
        {"name": "echo", "argumnets": {}},
    ],
)
async def test_a_wrong_call_is_refused_before_the_toolbox_sees_it(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    """All problems at once."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp, mcp.served.client() as client:
        with pytest.raises(Refusal) as caught:
            await client.call("tools.call", params)
    assert caught.value.code == "bad_input"
    assert toolbox.calls == []
