"""MCP over a real Unix socket, in both eras, through the SDK's own client and through hostile bytes."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway import mcp_session
from aleph_agentd.gateway.lines import MAX_LINE
from aleph_agentd.gateway.mcp_server import checked_listing
from aleph_agentd.gateway.rpc.peer import Limits

from .mcp_fixtures import MODERN, NONCE, FakeToolbox, serving_mcp, tool
from .rpc_fixtures import DEADLINE_S, until

ERAS = pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])


def text_of(result: Any) -> str:
    """The one text of a result."""
    [content] = result.content
    return content.text


@ERAS
async def test_a_client_lists_and_calls_tools_in_its_era(tmp_path: Path, mode: str) -> None:
    """The structured result and its text twin say the same."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp, Client(mcp.transport(), mode=mode) as client:
        listed = await client.list_tools()
        assert [found.name for found in listed.tools] == ["echo", "wait", "fail"]
        assert listed.tools[0].annotations.read_only_hint is True
        assert listed.tools[0].meta == {"anthropic/alwaysLoad": True}
        result = await client.call_tool("echo", {"x": [1, "é"]})
        assert not result.is_error
        assert result.structured_content == {"arguments": {"x": [1, "é"]}, "session": NONCE}
        assert json.loads(text_of(result)) == result.structured_content
        # A pinned version is adopted without asking, so nothing told that client.
        assert client.instructions == (None if mode == "2026-07-28" else "Rent VMs.")
    [(name, _arguments, caller, key)] = toolbox.calls
    assert name == "echo"
    assert (caller.project, caller.peer.uid) == ("/p", os.getuid())
    assert key is not None
    assert key.startswith(f"{NONCE}:int:")


@ERAS
async def test_a_refusal_is_what_why_and_next_in_the_text(tmp_path: Path, mode: str) -> None:
    """Of an error the model sees the text alone."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp, Client(mcp.transport(), mode=mode) as client:
        result = await client.call_tool("deny", {})
        assert result.is_error
        assert text_of(result) == "too dear\nNext: choose a smaller one\ncode: max_spend"


@ERAS
async def test_an_unknown_tool_is_an_error_that_a_model_can_act_on(tmp_path: Path, mode: str) -> None:
    """A smarter model could have avoided it, so it is a tool's error."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp, Client(mcp.transport(), mode=mode) as client:
        result = await client.call_tool("nonsense", {})
        assert result.is_error
        assert "tools: echo" in text_of(result)


@ERAS
@pytest.mark.parametrize("name", ["fail", "nan"])
async def test_a_failure_of_ours_leaks_no_text(
    tmp_path: Path, mode: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has it."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp, Client(mcp.transport(), mode=mode) as client:
        result = await client.call_tool(name, {})
        assert result.is_error
        assert "secret" not in text_of(result)
        assert "daemon's log" in text_of(result)
    assert f"{name} failed" in caplog.text


async def test_too_long_an_answer_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """It would not fit into a line of the shim."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp, Client(mcp.transport(), mode="legacy") as client:
        result = await client.call_tool("long", {})
        assert result.is_error
        assert "code: too_long" in text_of(result)


@ERAS
async def test_progress_reaches_a_client_that_asked_for_it(tmp_path: Path, mode: str) -> None:
    """And a client that did not ask costs nothing."""
    toolbox, heard = FakeToolbox(), []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))
        toolbox.gate.set()

    async with serving_mcp(tmp_path, toolbox) as mcp, Client(mcp.transport(), mode=mode) as client:
        result = await client.call_tool("wait", {}, progress_callback=hear)
        assert result.structured_content == {"waited": True, "progress": True}
        assert heard == [(1, 2, "half way")]
        result = await client.call_tool("wait", {})
        assert result.structured_content == {"waited": True, "progress": False}


async def test_two_sessions_do_not_see_each_other(tmp_path: Path) -> None:
    """Each has its caller, its ids and its era."""
    toolbox = FakeToolbox()
    async with (
        serving_mcp(tmp_path, toolbox) as mcp,
        Client(mcp.transport("a" * 32), mode="legacy") as first,
        Client(mcp.transport("b" * 32), mode="2026-07-28") as second,
    ):
        results = await asyncio.gather(
            *(client.call_tool("echo", {"n": n}) for n in range(10) for client in (first, second))
        )
        sessions = [result.structured_content["session"] for result in results]
        assert sessions == ["a" * 32, "b" * 32] * 10
        assert mcp.opener.sessions == 2
    await until(lambda: mcp.opener.sessions == 0)


async def test_cancelling_ends_the_waiting_and_frees_the_id(tmp_path: Path) -> None:
    """A cancelled request is never answered."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp:
        raw = await mcp.handshaken()
        raw.call(5, "wait")
        await until(lambda: toolbox.running == 1)
        raw.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}})
        await until(lambda: toolbox.cancelled == 1)
        raw.call(6, "echo")
        assert (await raw.next())["id"] == 6
        raw.call(5, "echo")
        assert (await raw.next())["id"] == 5


async def test_a_client_that_hangs_up_cancels_only_the_waiting(tmp_path: Path) -> None:
    """The session is gone, and the daemon serves the next."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp:
        raw = await mcp.handshaken()
        raw.call(5, "wait")
        await until(lambda: toolbox.running == 1)
        raw.writer.transport.abort()
        await until(lambda: toolbox.cancelled == 1 and mcp.opener.sessions == 0)
        raw = await mcp.handshaken()
        raw.call(1, "echo")
        assert (await raw.next())["id"] == 1


@pytest.mark.parametrize(
    ("line", "code", "id_"),
    [
        (b"not json\n", -32700, None),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "x"\n', -32700, None),
        (b'{"a": "\xff"}\n', -32700, None),
        (b"[" * 5000 + b"\n", -32700, None),
        (b"x" * (10 * MAX_LINE) + b"\n", -32700, None),
        (b'{"jsonrpc": "1.0", "id": 3, "method": "ping"}\n', -32600, 3),
        (b'{"jsonrpc": "2.0", "id": "s", "method": 5}\n', -32600, "s"),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}\n', None, None),
        (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}\n', None, None),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}\n', None, None),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]\n', -32600, None),
        (b'{"jsonrpc": "2.0", "id": "' + b"i" * 200 + b'", "method": "ping"}\n', -32600, None),
        (b"5\n", -32600, None),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_a_line_that_is_no_message_is_answered_and_the_session_lives_on(
    tmp_path: Path, line: bytes, code: int | None, id_: object
) -> None:
    """One bad line must not cost an agent its tools. (An id of a wrong type reads as no id at all.)"""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp:
        raw = await mcp.handshaken()
        raw.send(line)
        if code is not None:
            answer = await raw.next()
            assert (answer["error"]["code"], answer["id"]) == (code, id_)
        assert (await raw.ask(99, "ping"))["id"] == 99


async def test_hostile_arguments_reach_the_toolbox_whole_or_not_at_all(tmp_path: Path) -> None:
    """Judging them is the toolbox's work: it alone can list all problems."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp:
        raw = await mcp.handshaken()
        raw.send(
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"deny","arguments":{"n":NaN}}}\n'
        )
        assert (await raw.next())["result"]["isError"] is True
        assert repr(toolbox.calls[0][1]) == "{'n': nan}"
        raw.request(2, "tools/call", {"name": "echo", "arguments": [1]})
        assert (await raw.next())["error"]["code"] == -32602
        raw.request(3, "tools/call", {"arguments": {}})
        assert (await raw.next())["error"]["code"] == -32602
        raw.request(4, "no/such/method")
        assert (await raw.next())["error"]["code"] == -32601


async def test_request_keys_tell_types_of_ids_apart(tmp_path: Path) -> None:
    """7 and "7" are two requests."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp:
        raw = await mcp.handshaken()
        for id_ in (7, "7"):
            raw.call(id_, "echo")
            assert (await raw.next())["id"] == id_
    assert [key for *_, key in toolbox.calls] == [f"{NONCE}:int:7", f"{NONCE}:str:7"]


async def test_an_id_that_is_in_flight_is_refused_without_answering_the_first(tmp_path: Path) -> None:
    """The first one's answer must stay the only one under its id."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp:
        raw = await mcp.handshaken()
        raw.call(5, "wait")
        await until(lambda: toolbox.running == 1)
        raw.call(5, "echo")
        refused = await raw.next()
        assert (refused["id"], refused["error"]["code"]) == (None, -32600)
        toolbox.gate.set()
        answer = await raw.next()
        assert (answer["id"], answer["result"]["structuredContent"]["waited"]) == (5, True)


async def test_calls_of_a_session_are_bounded_and_the_rest_is_told_so(tmp_path: Path) -> None:
    """A flood of one agent is answered, not queued."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp:
        raw = await mcp.handshaken()
        for id_ in range(mcp_session.MAX_CALLS + 1):
            raw.call(id_, "wait")
        answer = await raw.next()
        assert answer["result"]["isError"] is True
        assert "run already" in answer["result"]["content"][0]["text"]
        toolbox.gate.set()
        answers = [await raw.next() for _ in range(mcp_session.MAX_CALLS)]
        assert all(answer["result"]["isError"] is False for answer in answers)
        raw.call(100, "echo")
        assert (await raw.next())["result"]["isError"] is False


async def test_requests_in_flight_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that even a request that is no call is refused at once."""
    monkeypatch.setattr(mcp_session, "MAX_IN_FLIGHT", 2)
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp:
        raw = await mcp.handshaken()
        raw.call(1, "wait")
        raw.call(2, "wait")
        await until(lambda: toolbox.running == 2)
        assert (await raw.ask(3, "ping"))["error"]["code"] == mcp_session.BUSY


async def test_a_client_that_does_not_read_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it for ever, and its session is freed."""
    monkeypatch.setattr(mcp_session, "STALL_S", 0.05)
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp:
        raw = await mcp.handshaken()
        assert mcp.opener.sessions == 1
        raw.writer.transport.pause_reading()
        for id_ in range(30):
            raw.call(id_, "echo", {"text": "x" * 100_000})
        await until(lambda: mcp.opener.sessions == 0)


async def test_draining_finishes_calls_and_then_hangs_up(tmp_path: Path) -> None:
    """What runs is answered; what comes after is not taken."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp:
        busy, idle = await mcp.handshaken(), await mcp.handshaken("c" * 32)
        busy.call(1, "wait")
        await until(lambda: toolbox.running == 1)
        closing = asyncio.create_task(mcp.served.server.close(DEADLINE_S))
        async with asyncio.timeout(DEADLINE_S):
            assert await idle.reader.read() == b""
        busy.call(2, "echo")
        toolbox.gate.set()
        assert (await busy.next())["result"]["structuredContent"]["waited"] is True
        async with asyncio.timeout(DEADLINE_S):
            assert await busy.reader.read() == b""
        await closing
    assert [name for name, *_ in toolbox.calls] == ["wait"]


async def test_a_drain_that_takes_too_long_cancels(tmp_path: Path) -> None:
    """The daemon's end is bounded."""
    toolbox = FakeToolbox()
    async with serving_mcp(tmp_path, toolbox) as mcp:
        raw = await mcp.handshaken()
        raw.call(1, "wait")
        await until(lambda: toolbox.running == 1)
        async with asyncio.timeout(DEADLINE_S):
            await mcp.served.server.close(0.01)
        assert toolbox.cancelled == 1


async def test_a_drain_does_not_wait_for_a_flood_s_turns(tmp_path: Path) -> None:
    """Lines that came too fast would take days: the daemon stops without them."""
    limits = Limits(requests_per_s=0.001, burst=500, uid_requests_per_s=0.001, uid_burst=500)
    async with serving_mcp(tmp_path, FakeToolbox(), limits) as mcp:
        raw = await mcp.handshaken()
        raw.send(b"{}\n" * 1000)
        while (await raw.next())["error"]:
            [connection] = mcp.served.server._doors[0].connections
            if connection.pace.wait_s():
                break
        async with asyncio.timeout(DEADLINE_S):
            await mcp.served.server.close(0.01)


async def test_modern_results_say_that_they_are_complete_and_how_long_they_hold(tmp_path: Path) -> None:
    """Both are required of a server since 2026-07-28."""
    from .mcp_fixtures import Raw

    async with serving_mcp(tmp_path, FakeToolbox()) as mcp:
        raw = Raw(*await mcp.opened())
        listed = (await raw.ask(1, "tools/list", {"_meta": MODERN}))["result"]
        assert listed["resultType"] == "complete"
        assert listed["ttlMs"] > 0
        called = (await raw.ask(2, "tools/call", {"_meta": MODERN, "name": "echo", "arguments": {}}))[
            "result"
        ]
        assert called["resultType"] == "complete"
        found = (await raw.ask(3, "server/discover", {"_meta": MODERN}))["result"]
        assert found["capabilities"]["tools"]["listChanged"] is True


@pytest.mark.parametrize(
    "bad",
    [
        {"inputSchema": {"properties": {}}},
        {"inputSchema": None},
        {"outputSchema": {"type": "array"}},
        {"outputSchema": True},
    ],
)
def test_a_bad_schema_is_found_at_load_and_named(bad: dict[str, Any]) -> None:
    """On the wire it would cost every client all tools."""
    with pytest.raises(ValueError, match="tool broken"):
        checked_listing([tool("fine"), tool("broken", **bad)])


def test_a_name_is_used_once() -> None:
    """Clients would see one of the two."""
    with pytest.raises(ValueError, match="two tools"):
        checked_listing([tool("same"), tool("same")])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"nonce": "abc"},
        {"nonce": NONCE.upper()},
        {"nonce": 5},
        {"nonce": NONCE, "preamble": []},
        {"nonce": NONCE, "preamble": {"cwd": "x" * 5000}},
        {"nonce": NONCE, "preamble": {"a": {"b": {"c": 1}}}},
        {"nonce": NONCE, "preamble": {str(n): n for n in range(65)}},
    ],
)
async def test_a_session_is_opened_with_a_nonce_and_a_small_preamble_only(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    """The nonce is half of every request key."""
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp, mcp.served.client() as client:
        with pytest.raises(Refusal) as caught:
            await client.call("mcp.open", params)
        assert caught.value.code == "bad_input"
        assert await client.call("ping")


@pytest.mark.parametrize("limit", ["MAX_SESSIONS_PER_UID", "MAX_SESSIONS_PER_PROCESS"])
async def test_sessions_of_a_user_and_of_a_process_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Leaked shims of one user must not use the daemon up."""
    monkeypatch.setattr(f"aleph_agentd.gateway.mcp_open.{limit}", 1)
    async with serving_mcp(tmp_path, FakeToolbox()) as mcp:
        await mcp.handshaken()
        async with mcp.served.client() as client:
            with pytest.raises(Refusal) as caught:
                await client.call("mcp.open", {"nonce": NONCE})
            assert caught.value.code == "unavailable"


def test_importing_the_gateway_imports_neither_mcp_nor_anyio() -> None:
    """READY comes before them."""
    code = (
        "import sys, aleph_agentd.gateway.mcp_open, aleph_agentd.gateway.methods, aleph_agentd.gateway.rpc.server;"
        "print([m for m in ('mcp', 'mcp_types', 'anyio', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
