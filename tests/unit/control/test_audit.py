"""`audit`: what the CLI makes of the daemon's answers."""

import io
import json
from typing import Any

import pytest

from aleph_agentd.control import audit
from aleph_agentd.domain.audit import Link, anchor_line

SOUND = {"ok": True, "problem": "", "first": 1, "last": 57, "hash": "a" * 64, "anchors": 3}


def entry(n: int, text: str = "aleph_check_balance: ok") -> dict[str, Any]:
    """An entry as the daemon tells it."""
    return {
        "n": n,
        "at": "2026-11-25T12:00:00.123456Z",
        "kind": "call",
        "actor": "agent uid=1000 pid=7",
        "session": "s",
        "request_key": "s/k",
        "item_hash": "ab" * 32,
        "text": text,
        "hash": "c" * 64,
    }


def log_of(count: int) -> Any:
    """A daemon's log with so many entries, told three at a time."""

    def told(_: Any, params: dict[str, Any]) -> Any:
        after = params.get("after", max(0, count - params["limit"]))
        last = min(count, after + 3) if "after" in params else count
        return {"entries": [entry(n) for n in range(after + 1, last + 1)]}

    return told


def test_the_newest_entries_are_a_table(daemon, cli):
    """Who, what and when; nothing that an agent wrote reaches the terminal as it is."""
    daemon.says("audit.list", {"entries": [entry(7, "name=\x1b[2Jbox: ok")]})
    assert cli.run("audit", "--limit", "1") == 0
    assert daemon.asked == [("audit.list", {"limit": 1})]
    assert cli.out.splitlines()[0].split() == ["n", "at", "who", "kind", "vm", "what"]
    assert "2026-11-25 12:00:00 UTC" in cli.out and "agent uid=1000 pid=7" in cli.out
    assert "name=\\x1b[2Jbox: ok" in cli.out


def test_json_is_an_entry_a_line(daemon, cli):
    """As it is in the log."""
    daemon.says("audit.list", {"entries": [entry(7), entry(8)]})
    assert cli.run("audit", "--json") == 0
    assert [json.loads(line) for line in cli.out.splitlines()] == [entry(7), entry(8)]


def test_an_export_is_the_whole_log_page_by_page(daemon, cli):
    """Never more of it in memory than one page."""
    daemon.says("audit.list", log_of(8))
    assert cli.run("audit", "--export", "jsonl") == 0
    assert [json.loads(line)["n"] for line in cli.out.splitlines()] == list(range(1, 9))
    assert [params["after"] for _, params in daemon.asked] == [0, 3, 6, 8]


def test_following_shows_the_newest_and_then_what_comes(daemon, cli, monkeypatch: pytest.MonkeyPatch):
    """Until Ctrl-C, which is no failure."""
    monkeypatch.setattr(audit, "_POLL_S", 0.0)
    pages = iter([[entry(5)], [], [entry(6)], []])

    def told(_: Any, __: Any) -> Any:
        return {"entries": next(pages, [])}

    shown = []

    def say(line: str = "", style: str = "") -> None:
        shown.append(line.split()[0])
        if shown[-1] == "6":
            raise KeyboardInterrupt

    monkeypatch.setattr(audit.output, "say", say)
    daemon.says("audit.list", told)
    assert cli.run("audit", "--follow") == 0
    assert shown == ["5", "6"]
    assert [params.get("after") for _, params in daemon.asked] == [None, 5, 5]


def test_a_sound_log_is_said_to_be_so(daemon, cli):
    """With how much it was compared with."""
    daemon.says("audit.verify", SOUND)
    assert cli.run("audit", "--verify") == 0
    assert f"sound: entries 1 to 57, hash {'a' * 64}" in cli.out and "3 anchors agree" in cli.out
    assert cli.run("audit", "--verify", "--json") == 0
    assert cli.json == SOUND
    daemon.says("audit.verify", SOUND | {"anchors": 0})
    assert cli.run("audit", "--verify") == 0
    assert "a tail that was cut would not be seen" in cli.out


def test_a_log_that_is_not_sound_is_a_failure(daemon, cli):
    """With the first problem, and what may explain it."""
    daemon.says("audit.verify", SOUND | {"ok": False, "problem": "entry 7 was changed"})
    assert cli.run("audit", "--verify") == 1
    assert "not sound: entry 7 was changed" in cli.err and "backup" in cli.err
    assert cli.run("audit", "--verify", "--json") == 1
    assert cli.json["error"]["code"] == "audit_not_sound"


def test_a_journal_s_anchors_are_sent_along(daemon, cli, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """From a file or a pipe, the newest of however many."""
    monkeypatch.setattr(audit, "_MOST_ANCHORS", 2)
    links = [Link(n, f"{n:064x}") for n in (100, 200, 300)]
    lines = "".join(f"Nov 25 agentd: x: {anchor_line(link)}\nready\n" for link in links)
    daemon.says("audit.verify", SOUND)
    (tmp_path / "journal").write_bytes(b"\xff\n" + lines.encode())
    assert cli.run("audit", "--verify", "--anchors", str(tmp_path / "journal")) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert cli.run("audit", "--verify", "--anchors", "-") == 0
    sent = {"anchors": [[link.n, link.hash] for link in links[1:]]}
    assert daemon.asked == [("audit.verify", sent)] * 2


@pytest.mark.parametrize(
    "words",
    [("--follow", "--verify"), ("--export", "jsonl", "--follow"), ("--anchors", "-"), ("--export", "csv")],
)
def test_what_does_not_go_together_is_a_mistake_of_use(daemon, cli, words):
    """Nothing is asked."""
    assert cli.run("audit", *words) == 2
    assert daemon.asked == []
