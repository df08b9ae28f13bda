"""The shim while all is well: the pipe, its bounds, and what it tells the daemon about its client."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import MODERN, PATIENCE, FakeDaemon, Line, Shim, answer

Launch = Callable[..., Shim]
LIMIT = 1024 * 1024 - 1024


def test_a_legacy_client_is_served_through_the_pipe(daemon: FakeDaemon, launch: Launch) -> None:
    """Handshake, list and call arrive at the daemon unchanged and in order."""
    shim = launch()
    shim.shake()
    assert shim.ask("tools/list", 1)["result"]["tools"][0]["name"] == "aleph_x"
    assert shim.ask("tools/call", "two", name="aleph_x", arguments={"text": "ü\n"})["id"] == "two"
    assert [line["method"] for line in daemon.lines[0]] == [
        "initialize",
        "notifications/initialized",
        "tools/list",
        "tools/call",
    ]
    assert daemon.lines[0][-1]["params"]["arguments"] == {"text": "ü\n"}


def test_a_modern_client_needs_no_handshake(daemon: FakeDaemon, launch: Launch) -> None:
    """The first line may be any request."""
    assert launch().ask("tools/call", 7, name="aleph_x", **MODERN)["id"] == 7


def test_what_the_daemon_says_unasked_reaches_the_client(daemon: FakeDaemon, launch: Launch) -> None:
    """Notifications and the server's own requests, and the client's answers to those."""
    shim = launch()
    shim.shake()
    daemon.push({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})
    assert shim.next()["method"] == "notifications/progress"
    daemon.push({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {}})
    assert shim.next()["method"] == "elicitation/create"
    shim.write(b'{"jsonrpc":"2.0","id":1,"result":{"action":"decline"}}\n')
    shim.ask("ping", 5)
    assert daemon.lines[0][-2]["result"] == {"action": "decline"}


def test_the_first_request_opens_the_pipe_and_says_who_asks(
    daemon: FakeDaemon, launch: Launch, tmp_path: Path
) -> None:
    """A random name, this process's parent, its folders, and the settings that may tighten: cut to size."""
    many = {f"ALEPH_AGENT_V{n:03}": "x" * 5000 for n in range(100)}
    launch(cwd=tmp_path, CLAUDE_PROJECT_DIR="/p", CLAUDE_CODE_SESSION_ID="s", OTHER_SECRET="no", **many)
    kind, id_, method, [opened] = daemon.opens.get(timeout=PATIENCE)
    assert (kind, id_, method, opened["version"]) == (0, 1, "mcp.open", 1)
    assert len(bytes.fromhex(opened["nonce"])) == 16
    preamble = opened["preamble"]
    assert (preamble["client_pid"], preamble["cwd"]) == (os.getpid(), str(tmp_path))
    assert (preamble["project_dir"], preamble["client_session"]) == ("/p", "s")
    assert len(preamble["env"]) == 64
    assert all(name.startswith("ALEPH_AGENT_") for name in preamble["env"])
    assert max(map(len, preamble["env"].values())) == 512


def test_two_shims_never_share_a_nonce(daemon: FakeDaemon, launch: Launch) -> None:
    """The request key of a call is built on it."""
    launch(), launch()
    opened = [daemon.opens.get(timeout=PATIENCE)[3][0]["nonce"] for _ in range(2)]
    assert opened[0] != opened[1]


def test_the_socket_is_found_where_the_session_has_it(launch: Launch, tmp_path: Path) -> None:
    """Without a setting: $XDG_RUNTIME_DIR/aleph-agentd/agent.sock."""
    daemon = FakeDaemon(tmp_path / "xdg" / "aleph-agentd" / "agent.sock").start()
    shim = launch(ALEPH_AGENT_RUNTIME_DIR="", XDG_RUNTIME_DIR=str(tmp_path / "xdg"))
    assert shim.ask("ping", 1)["result"] == {}
    daemon.stop()


@pytest.mark.parametrize("id_first", [True, False])
def test_too_long_a_line_is_refused_by_its_id_and_nothing_else_notices(
    daemon: FakeDaemon, launch: Launch, id_first: bool
) -> None:
    """The line is dropped as it streams in; the one before and the one after are served."""
    shim = launch()
    shim.shake()
    body = {
        "method": "tools/call",
        "params": {"id": "not this", "x": "y" * (8 * 1024 * 1024), "l": [{"id": 3}]},
    }
    long = {"jsonrpc": "2.0", "id": 42, **body} if id_first else {**body, "jsonrpc": "2.0", "id": 42}
    shim.write(json.dumps(long).encode() + b"\n")
    refusal = shim.next()
    assert (refusal["id"], str(LIMIT) in refusal["error"]["message"]) == (42, True)
    assert shim.ask("ping", 43)["id"] == 43
    assert daemon.raw_bytes < LIMIT


def test_too_long_a_line_without_a_visible_id_is_refused_without_one(
    daemon: FakeDaemon, launch: Launch
) -> None:
    """Better no id than a wrong one."""
    shim = launch()
    shim.write(b'{"params":{"id":5},"x":"' + b"z" * (2 * LIMIT) + b'","y":{"id":6}}\n')
    assert shim.next()["id"] is None
    assert shim.ask("ping", 1)["id"] == 1


def test_a_line_of_just_the_limit_passes(daemon: FakeDaemon, launch: Launch) -> None:
    """The limit itself is allowed, in both directions."""
    daemon.handle = lambda line: [{"jsonrpc": "2.0", "id": line["id"], "result": line["params"]}]
    line = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"' + b"a" * LIMIT
    shim = launch()
    shim.write(line[: LIMIT - 3] + b'"}}\n')
    assert len(shim.next()["result"]["x"]) == LIMIT - 3 - 55


def test_a_megabyte_of_answers_waits_for_a_client_that_does_not_read(
    daemon: FakeDaemon, launch: Launch
) -> None:
    """Nothing is lost, and the daemon is slowed down instead of the shim growing."""
    size, count = 256 * 1024, 80
    sent = []

    def flood(line: Line) -> list[Line]:
        if line["method"] != "flood":
            return answer(line)
        for n in range(count):
            daemon.push(
                {"jsonrpc": "2.0", "method": "notifications/x", "params": {"n": n, "pad": "p" * size}}
            )
            sent.append(n)
        return answer(line)

    daemon.handle = flood
    shim = launch()
    shim.shake()
    before = peak(shim)
    shim.send("flood", 1)
    until(lambda: len(sent) > 10)
    assert [shim.next()["params"]["n"] for _ in range(count)] == list(range(count))
    assert shim.next()["id"] == 1
    assert peak(shim) - before < 20 * 1024


def test_a_client_that_does_not_read_does_not_stop_its_own_requests(
    daemon: FakeDaemon, launch: Launch
) -> None:
    """Flow control is one way: calls still go up while answers wait."""
    shim = launch()
    daemon.handle = lambda line: [{"jsonrpc": "2.0", "id": line["id"], "result": "r" * 300_000}]
    for n in range(10):
        shim.send("tools/call", n, name="aleph_x")
    until(lambda: bool(daemon.lines) and len(daemon.lines[0]) == 10)
    assert [shim.next()["id"] for _ in range(10)] == list(range(10))


def test_broken_lines_are_the_daemons_to_refuse(daemon: FakeDaemon, launch: Launch) -> None:
    """What is no JSON, no object or nested beyond reason passes through and hurts nobody here."""
    seen: list[Any] = []
    daemon.handle = lambda line: seen.append(line) or (answer(line) if isinstance(line, dict) else [])  # type: ignore[func-returns-value]
    shim = launch()
    shim.write(b'[1]\n"x"\n\n  \nnull\n{"id":1}\n{"method":5,"id":2}\n{"id":{"a":[]},"method":"ping"}\n')
    assert shim.next()["id"] in ({"a": []}, 2)
    assert shim.process.poll() is None


def test_the_end_of_input_ends_the_shim_cleanly(daemon: FakeDaemon, launch: Launch) -> None:
    """The daemon learns of it, and the status is 0 with nothing on stderr."""
    shim = launch()
    shim.shake()
    assert shim.end() == (0, "")
    assert daemon.ended.wait(PATIENCE)


def test_an_unfinished_last_line_is_still_delivered(daemon: FakeDaemon, launch: Launch) -> None:
    """Scripts that pipe one line in often forget its end."""
    shim = launch()
    out, _ = shim.process.communicate(b'{"jsonrpc":"2.0","id":1,"method":"ping"}', timeout=PATIENCE)
    assert json.loads(out)["id"] == 1
    assert shim.process.returncode == 0


def test_a_daemon_that_ignores_the_end_is_not_waited_for_long(daemon: FakeDaemon, launch: Launch) -> None:
    """The client wants its child process gone."""
    release = threading.Event()
    daemon.handle = lambda line: release.wait(PATIENCE) and []  # type: ignore[return-value]
    shim = launch("import aleph_agent_mcp.pump as p; p.END_SECONDS = 0.1")
    shim.send("tools/call", 1, name="aleph_x")
    until(lambda: bool(daemon.lines) and bool(daemon.lines[0]))
    assert shim.end()[0] == 0
    release.set()


def test_a_client_that_is_gone_ends_the_shim(daemon: FakeDaemon, launch: Launch) -> None:
    """Even if somebody else still holds its input open."""
    shim = launch()
    daemon.opens.get(timeout=PATIENCE)
    shim.stdout.close()
    assert shim.process.wait(PATIENCE) in (0, -signal.SIGPIPE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_without_a_traceback(
    daemon: FakeDaemon, launch: Launch, number: signal.Signals
) -> None:
    """Claude Code stops its servers with SIGINT."""
    shim = launch()
    daemon.opens.get(timeout=PATIENCE)
    shim.process.send_signal(number)
    assert shim.process.wait(PATIENCE) == -number
    assert shim.process.stderr
    assert shim.process.stderr.read() == b""


def test_the_hot_path_imports_nothing_dear() -> None:
    """Everything up to an answered call does without the modules that cost milliseconds."""
    dear = "asyncio argparse typing dataclasses pathlib subprocess logging re json socket signal enum collections"
    code = "import sys, aleph_agent_mcp.__main__, aleph_agent_mcp.pump; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, env=shim_path(), check=True
    )
    assert not set(dear.split()) & set(loaded.stdout.decode().split())


def test_the_modules_of_the_clients_project_are_not_ours(
    daemon: FakeDaemon, launch: Launch, tmp_path: Path
) -> None:
    """A client starts us in its project's folder, where select.py may be anything."""
    for name in ("select", "json", "pwd", "_json", "_socket", "re"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')")
    shim = launch(cwd=tmp_path)
    assert shim.ask("tools/list", 1, **MODERN)["id"] == 1
    daemon.drop()
    assert shim.end()[0] == 0


def test_it_stays_small(daemon: FakeDaemon, launch: Launch) -> None:
    """After an answered call the process holds at most 14 MiB."""
    shim = launch()
    shim.shake()
    shim.ask("tools/call", 1, name="aleph_x")
    assert peak(shim) <= 14 * 1024


def shim_path() -> dict[str, str]:
    import aleph_agent_mcp

    return {"PYTHONPATH": str(Path(aleph_agent_mcp.__file__).parent.parent)}


def peak(shim: Shim) -> int:
    """Peak resident size in KiB."""
    status = Path(f"/proc/{shim.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition, for as long as patience lasts."""
    pause = threading.Event()
    for _ in range(int(PATIENCE * 100)):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError("it never happened")
