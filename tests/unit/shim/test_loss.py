"""The daemon goes away and comes back: what was under way is asked again, and nothing is answered twice."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import MODERN, PATIENCE, FakeDaemon, Line, Shim, answer
from .test_pipe import until

Launch = Callable[..., Shim]
IMPATIENT = "import aleph_agent_mcp.session as s; s.LOSS_SECONDS = s.START_SECONDS = 0.3"


def dies_once(daemon: FakeDaemon, method: str, times: int = 1) -> list[Line]:
    """The daemon breaks the connection when it is asked for `method`, so often."""
    seen: list[Line] = []

    def handle(line: Line) -> list[Line] | None:
        if line.get("method") == method:
            seen.append(line)
            if len(seen) <= times:
                return None
        return answer(line)

    daemon.handle = handle
    return seen


def methods(lines: list[Line]) -> list[Any]:
    return [line.get("method") for line in lines]


def test_a_call_survives_the_loss_of_the_connection(daemon: FakeDaemon, launch: Launch) -> None:
    """Opened again under the same nonce, the handshake repeated unseen, the very same line sent again."""
    calls = dies_once(daemon, "tools/call")
    shim = launch()
    shim.shake()
    assert (
        shim.ask("tools/call", 9, name="aleph_x", arguments={"a": 1})["result"]["content"][0]["text"]
        == "done"
    )
    assert calls[0] == calls[1]
    assert methods(daemon.lines[1]) == ["initialize", "notifications/initialized", "tools/call"]
    first, second = (daemon.opens.get(timeout=PATIENCE)[3][0]["nonce"] for _ in range(2))
    assert first == second
    assert shim.ask("ping", 10)["id"] == 10, "the repeated answer to initialize must not reach the client"


def test_a_modern_call_is_sent_again_without_a_handshake(daemon: FakeDaemon, launch: Launch) -> None:
    """There is nothing to repeat but the call."""
    dies_once(daemon, "tools/call")
    assert launch().ask("tools/call", 1, name="aleph_x", **MODERN)["id"] == 1
    assert methods(daemon.lines[1]) == ["tools/call"]


def test_a_handshake_that_was_not_answered_is_answered_once(daemon: FakeDaemon, launch: Launch) -> None:
    """The loss may come at the very first line."""
    dies_once(daemon, "initialize")
    shim = launch()
    shim.shake()
    assert shim.ask("ping", 1)["id"] == 1


def test_answered_and_cancelled_requests_are_not_sent_again(daemon: FakeDaemon, launch: Launch) -> None:
    """Only what the client still waits for."""
    hold = {"tools/call"}
    daemon.handle = lambda line: [] if line.get("method") in hold else answer(line)
    shim = launch()
    shim.shake()
    shim.ask("ping", 1)
    shim.send("tools/call", 2, name="cancelled")
    shim.send("notifications/cancelled", requestId=2)
    shim.send("tools/call", 3, name="waiting")
    until(lambda: len(daemon.lines[0]) == 6)
    hold.clear()
    daemon.drop()
    assert shim.next()["id"] == 3
    assert [line.get("id") for line in daemon.lines[1]] == [0, None, 3]


def test_requests_made_while_it_is_away_wait_for_it(daemon: FakeDaemon, launch: Launch) -> None:
    """A restart is a pause, not an error."""
    shim = launch()
    shim.shake()
    daemon.stop()
    for n in range(5):
        shim.send("ping", n + 1)
    daemon.start()
    assert [shim.next()["id"] for _ in range(5)] == [1, 2, 3, 4, 5]


def test_an_idle_client_is_connected_again_too(daemon: FakeDaemon, launch: Launch) -> None:
    """Notifications of the new daemon reach it without a request of its own."""
    shim = launch()
    shim.shake()
    daemon.stop()
    daemon.start()
    until(lambda: len(daemon.lines) == 2 and len(daemon.lines[1]) == 2)
    daemon.push({"jsonrpc": "2.0", "method": "notifications/x"})
    assert shim.next()["method"] == "notifications/x"


def test_half_an_answer_is_not_delivered(daemon: FakeDaemon, launch: Launch) -> None:
    """The connection broke within a line: the client sees the whole one, from the next connection."""
    torn: list[bool] = []

    def handle(line: Line) -> list[Line] | None:
        if line.get("method") == "tools/call" and not torn:
            torn.append(True)
            daemon._connections[-1].sendall(b'{"jsonrpc":"2.0","id":1,"resu')
            return None
        return answer(line)

    daemon.handle = handle
    shim = launch()
    shim.shake()
    assert shim.ask("tools/call", 1, name="aleph_x")["result"]["content"][0]["text"] == "done"


def test_a_call_that_breaks_the_connection_every_time_is_given_up(daemon: FakeDaemon, launch: Launch) -> None:
    """After three attempts the client is told that it may have taken effect."""
    calls = dies_once(daemon, "tools/call", times=100)
    shim = launch()
    shim.shake()
    result = shim.ask("tools/call", 1, name="aleph_x")["result"]
    assert result["isError"] is True
    assert "may have taken effect" in result["content"][0]["text"]
    assert len(calls) == 3
    assert shim.ask("ping", 2)["id"] == 2


@pytest.mark.parametrize("era", [{}, MODERN])
def test_a_daemon_that_stays_away_is_given_up(
    daemon: FakeDaemon, launch: Launch, era: dict[str, Any]
) -> None:
    """Calls get a result the model can act on, other requests an error; later ones are answered at once."""
    daemon.handle = lambda line: answer(line) if line.get("method") == "initialize" else []
    shim = launch(IMPATIENT)
    if not era:
        shim.shake()
    shim.send("tools/call", 1, name="aleph_x", **era)
    shim.send("resources/list", 2, **era)
    until(lambda: bool(daemon.lines) and {1, 2} <= {line.get("id") for line in daemon.lines[-1]})
    daemon.stop()
    lost = {message["id"]: message for message in (shim.next(), shim.next())}
    text = lost[1]["result"]["content"][0]["text"]
    assert lost[1]["result"]["isError"] is True
    assert lost[1]["result"].get("resultType") == ("complete" if era else None)
    assert "may have taken effect" in text
    assert "aleph-agentd" in text
    assert "aleph-agentd" in lost[2]["error"]["message"]
    later = shim.ask("tools/call", 3, name="aleph_x", **era)["result"]["content"][0]["text"]
    assert "Nothing was sent" in later
    assert shim.end()[0] == 0


def test_what_cannot_be_kept_is_answered_when_it_is_lost(daemon: FakeDaemon, launch: Launch) -> None:
    """64 requests are kept for a replay; those beyond are told that their fate is unknown."""
    hold = {"tools/call"}
    daemon.handle = lambda line: [] if line.get("method") in hold else answer(line)
    shim = launch()
    shim.ask("ping", "first", **MODERN)
    for n in range(70):
        shim.send("tools/call", n, name="aleph_x", **MODERN)
    until(lambda: len(daemon.lines[0]) == 71)
    hold.clear()
    daemon.drop()
    messages = {message["id"]: message["result"] for message in (shim.next() for _ in range(70))}
    assert sorted(messages) == list(range(70))
    assert [n for n, result in messages.items() if result.get("isError")] == list(range(64, 70))


def test_large_requests_are_kept_up_to_four_megabytes(daemon: FakeDaemon, launch: Launch) -> None:
    """Memory is bounded by bytes as well as by number."""
    hold = {"tools/call"}
    daemon.handle = lambda line: [] if line.get("method") in hold else answer(line)
    shim = launch()
    shim.ask("ping", "first", **MODERN)
    for n in range(6):
        shim.send("tools/call", n, name="x" * 900_000, **MODERN)
    until(lambda: len(daemon.lines[0]) == 7)
    hold.clear()
    daemon.drop()
    messages = {message["id"]: message["result"] for message in (shim.next() for _ in range(6))}
    assert [n for n, result in messages.items() if result.get("isError")] == [4, 5]


def test_the_log_says_what_happened_and_no_content(daemon: FakeDaemon, launch: Launch) -> None:
    """One line for the loss, one for the return."""
    dies_once(daemon, "tools/call")
    shim = launch()
    shim.shake()
    shim.ask("tools/call", 1, name="aleph_x", arguments={"secret": "tell-nobody"})
    _, log = shim.end()
    assert [line.split(": ")[0] for line in log.splitlines()] == ["aleph-agent-mcp"] * 2
    assert "tell-nobody" not in log
