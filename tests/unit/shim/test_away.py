"""No daemon at all: the shim answers what it can, remembers the tools, and keeps looking for one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcp_types
import pytest

from .conftest import MODERN, TOOLS, FakeDaemon, Shim
from .test_loss import IMPATIENT
from .test_pipe import until

Launch = Callable[..., Shim]
LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A tool list from earlier days."""
    file = tmp_path / "cache" / "aleph-agentd" / "tools.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"tools": TOOLS, "instructions": "Rent well."}))
    return file


def saved(tmp_path: Path) -> Any:
    try:
        return json.loads((tmp_path / "cache" / "aleph-agentd" / "tools.json").read_text())
    except FileNotFoundError:
        return None


@pytest.mark.parametrize(("asked", "got"), [*((v, v) for v in LEGACY_VERSIONS), ("1999-01-01", "2025-11-25")])
def test_a_legacy_client_can_connect(
    absent: FakeDaemon, launch: Launch, known: Path, asked: str, got: str
) -> None:
    """In its own version where it is known, with tools that may change."""
    result = launch(IMPATIENT).ask("initialize", 1, protocolVersion=asked, capabilities={})["result"]
    parsed = mcp_types.InitializeResult.model_validate(result)
    assert (parsed.protocol_version, parsed.server_info.name) == (got, "aleph-agent")
    assert parsed.instructions == "Rent well."
    assert parsed.capabilities.tools
    assert parsed.capabilities.tools.list_changed


def test_a_modern_client_can_discover(absent: FakeDaemon, launch: Launch, known: Path) -> None:
    """In the shape of the official server's own answer."""
    shim = launch(IMPATIENT)
    found = mcp_types.DiscoverResult.model_validate(shim.ask("server/discover", 1, **MODERN)["result"])
    assert (found.supported_versions, found.result_type) == (["2026-07-28"], "complete")
    listed = shim.ask("tools/list", 2, **MODERN)["result"]
    assert (listed["resultType"], listed["ttlMs"], listed["tools"]) == ("complete", 0, TOOLS)


def test_the_last_known_tools_are_listed_and_calls_say_what_to_do(
    absent: FakeDaemon, launch: Launch, known: Path
) -> None:
    """List, ping, call, and a method that only a daemon could answer."""
    shim = launch(IMPATIENT)
    shim.shake()
    assert shim.ask("tools/list", 1)["result"] == {"tools": TOOLS}
    assert shim.ask("ping", 2)["result"] == {}
    result = shim.ask("tools/call", 3, name="aleph_x")["result"]
    assert result["isError"] is True
    assert mcp_types.CallToolResult.model_validate(result)
    assert (
        f"Start it with: ALEPH_AGENT_RUNTIME_DIR={absent.path.parent} aleph-agentd run"
        in result["content"][0]["text"]
    )
    assert shim.ask("resources/list", 4)["error"]["code"] == -32603
    shim.write(b"no json\n")
    assert shim.next()["error"]["code"] == -32700


@pytest.mark.parametrize("content", [None, "", "[]", '{"tools": 5}', "\0" * 100, '{"tools": [' * 10_000])
def test_a_missing_or_broken_memory_is_an_empty_list(
    absent: FakeDaemon, launch: Launch, known: Path, content: str | None
) -> None:
    """The file is a convenience; nothing depends on what is in it."""
    known.unlink() if content is None else known.write_text(content)
    assert launch(IMPATIENT).ask("tools/list", 1)["result"] == {"tools": []}


def test_a_daemon_that_comes_up_later_takes_over(absent: FakeDaemon, launch: Launch) -> None:
    """It gets the handshake that the shim had answered, and the client is told to list again."""
    shim = launch(IMPATIENT)
    shim.shake()
    assert shim.ask("tools/list", 1)["result"]["tools"] == []
    absent.start()
    assert shim.next()["method"] == "notifications/tools/list_changed"
    assert shim.ask("tools/list", 2)["result"]["tools"] == TOOLS
    assert [line["method"] for line in absent.lines[0]] == [
        "initialize",
        "notifications/initialized",
        "tools/list",
    ]


def test_a_call_finds_a_daemon_that_was_just_started(absent: FakeDaemon, launch: Launch) -> None:
    """Whoever follows the advice and starts it need not wait for the next look."""
    shim = launch(IMPATIENT + "; import aleph_agent_mcp.link as l; l.FIRST_DELAY = l.LAST_DELAY = 3600")
    assert "error" not in shim.ask("tools/list", 1, **MODERN)
    absent.start()
    assert shim.ask("tools/call", 2, name="aleph_x", **MODERN)["result"]["content"][0]["text"] == "done"


def test_what_the_daemon_says_of_its_tools_is_remembered(
    daemon: FakeDaemon, launch: Launch, tmp_path: Path
) -> None:
    """Once nobody waits, and for the owner's eyes only."""
    shim = launch()
    shim.shake()
    shim.ask("tools/list", 1)
    until(lambda: saved(tmp_path) == {"tools": TOOLS, "instructions": "Rent well."})
    file = tmp_path / "cache" / "aleph-agentd" / "tools.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["tools.json"]


def test_what_is_known_already_is_not_written_again(daemon: FakeDaemon, launch: Launch, known: Path) -> None:
    """Each of many sessions would otherwise write the same file at its start."""
    before = known.stat()
    shim = launch()
    shim.shake()
    shim.ask("tools/list", 1)
    assert shim.end()[0] == 0
    after = known.stat()  # reading it may move its atime
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_page_of_a_list_is_not_taken_for_the_list(daemon: FakeDaemon, launch: Launch, known: Path) -> None:
    """Neither one that goes on, nor a later one."""
    daemon.handle = lambda line: [
        {
            "jsonrpc": "2.0",
            "id": line["id"],
            "result": {"tools": [], **({} if line["id"] > 1 else {"nextCursor": "2"})},
        }
    ]
    shim = launch()
    shim.ask("tools/list", 1, **MODERN)
    shim.ask("tools/list", 2, cursor="2", **MODERN)
    assert shim.end()[0] == 0
    assert json.loads(known.read_text())["tools"] == TOOLS


def test_a_home_that_cannot_be_written_is_no_trouble(daemon: FakeDaemon, launch: Launch) -> None:
    """The memory is lost, the session is not."""
    shim = launch(XDG_CACHE_HOME="/proc/nowhere")
    shim.ask("tools/list", 1, **MODERN)
    assert shim.end() == (0, "")


def test_a_session_that_the_daemon_refuses_passes_its_reason_on(daemon: FakeDaemon, launch: Launch) -> None:
    """What, why, and the next step, as the daemon put them."""
    daemon.open_error = {"code": "denied", "message": "another key is set here", "hint": "Unset X."}
    text = launch(IMPATIENT).ask("tools/call", 1, name="aleph_x")["result"]["content"][0]["text"]
    assert "another key is set here Unset X." in text


def test_a_daemon_that_does_not_answer_is_not_waited_for_without_end(
    absent: FakeDaemon, launch: Launch
) -> None:
    """It listens, but its loop hangs."""
    absent._serve = lambda connection: None  # type: ignore[method-assign]
    absent.start()
    shim = launch(IMPATIENT + "; import aleph_agent_mcp.link as l; l.OPEN_SECONDS = 0.2")
    assert "isError" in shim.ask("tools/call", 1, name="aleph_x")["result"]


def test_too_much_waiting_is_refused_at_once(absent: FakeDaemon, launch: Launch) -> None:
    """While there is no daemon yet, the queue for it has an end."""
    shim = launch("import aleph_agent_mcp.session as s; s.UNAIDED_SECONDS = 60")
    for n in range(65):
        shim.send("tools/call", n, name="aleph_x")
    refused = shim.next()
    assert (refused["id"], refused["error"]["code"]) == (64, -32600)


def test_an_id_of_absurd_length_is_refused(daemon: FakeDaemon, launch: Launch) -> None:
    """Ids are remembered, so they are bounded."""
    shim = launch()
    assert shim.ask("ping", "i" * 5000)["error"]["code"] == -32600
    assert shim.ask("ping", 1)["id"] == 1


def test_the_end_of_input_ends_it_without_a_daemon_too(absent: FakeDaemon, launch: Launch) -> None:
    """Nothing is waited for when nothing was asked."""
    assert launch().end()[0] == 0
