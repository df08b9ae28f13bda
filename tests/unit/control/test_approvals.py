"""`approvals`, `approve`, `deny`, `passphrase set`: what the owner sees, and what is asked of the daemon."""

import os
import pty
import select
import sys
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.domain.errors import Denied

SCRIPT = "import sys; from aleph_agentd.control.__main__ import main; sys.exit(main())"
SECRET = "correct horse"


def request(**changes: Any) -> dict[str, Any]:
    """What the daemon tells of a request."""
    return {
        "id": "ap-12ab34cd56",
        "kind": "create",
        "state": "waiting",
        "what": "create big: 12 CU for 24 h, ubuntu22",
        "at_most_credits": 419.0,
        "at_most_usd": 4.19,
        "client": "an MCP client (pid 4242)",
        "pid": 4243,
        "uid": 1000,
        "parents": "aleph-agent-mcp (4243) < claude (4242) < bash (90)",
        "project": "/home/you/app",
        "session": "ab" * 16,
        "asked_at": "2026-11-23T12:00:00Z",
        "expires_at": "2026-11-23T12:30:00Z",
        "expires_in": "29 min",
        "decided_at": None,
        "decided_by": "",
        "outcome": "",
    } | changes


def listing(*rows: dict[str, Any], passphrase_set: bool = True) -> dict[str, Any]:
    """The answer to approvals.list."""
    return {
        "approvals": list(rows),
        "budget_left": 581.0,
        "budget_left_usd": 5.81,
        "passphrase_set": passphrase_set,
    }


def test_it_shows_who_asks_for_what_and_what_is_left(daemon, cli):
    """Client, pid and parents, project; what, how much, what is left today; nothing of it can steer a terminal."""
    daemon.says("approvals.list", listing(request(project="/home/you/\x1b[31mapp")))
    assert cli.run("approvals") == 0
    for words in (
        "ap-12ab34cd56",
        "29 min left",
        "create big: 12 CU",
        "419.00 cr (US$4.19)",
        "581.00 cr (US$5.81)",
        "process 4243 of uid 1000",
        "claude (4242) < bash (90)",
        "/home/you/",
        "its own claim",
    ):
        assert words in cli.out
    assert "\x1b" not in cli.out
    assert cli.run("approvals", "--all", "--json") == 0
    assert cli.json["approvals"][0]["id"] == "ap-12ab34cd56"
    assert [params for _, params in daemon.asked] == [{"all": False}, {"all": True}]


def test_nothing_to_decide_is_said_and_so_is_a_missing_passphrase(daemon, cli):
    """With the command that sets one."""
    daemon.says("approvals.list", listing(passphrase_set=False))
    assert cli.run("approvals") == 0
    assert "Nothing waits" in cli.out and "aleph-agentctl passphrase set" in cli.out


def test_approving_asks_for_the_passphrase_and_tells_what_came_of_it(daemon, cli, typed):
    """Used is done; approved but not carried out is not."""
    daemon.says("approvals.list", listing(request()))
    daemon.says("approvals.approve", {"approval": request(state="used", outcome="c-1")})
    assert cli.run("approve", "ap-12ab34cd56") == 0
    assert "claude (4242)" in cli.out and "is approved and being carried out" in cli.out
    assert daemon.asked[-1] == ("approvals.approve", {"id": "ap-12ab34cd56", "passphrase": "open sesame"})
    assert "open sesame" not in cli.out + cli.err
    daemon.says(
        "approvals.approve",
        {"approval": request(state="approved", outcome="3 VMs are live (max_concurrent_vms)")},
    )
    assert cli.run("approve", "ap-12ab34cd56") == 1
    assert "not carried out: 3 VMs are live" in cli.out


def test_a_refused_approval_is_a_failure(daemon, cli, typed):
    """With the daemon's words."""
    daemon.says("approvals.list", listing(request()))
    daemon.says("approvals.approve", Denied("That is not the passphrase.", "Try again.", code="passphrase"))
    assert cli.run("approve", "ap-12ab34cd56", "--json") == 1
    assert cli.json["error"]["code"] == "passphrase"


def test_without_a_passphrase_nothing_is_asked_of_the_daemon(daemon, cli):
    """But told how to set one."""
    daemon.says("approvals.list", listing(request()))
    daemon.says("passphrase.state", {"set": False})
    assert cli.run("approve", "ap-12ab34cd56") == 1
    assert "aleph-agentctl passphrase set" in cli.err
    assert "approvals.approve" not in [method for method, _ in daemon.asked]


def test_denying_needs_no_passphrase(daemon, cli):
    """It gives nobody anything."""
    daemon.says("approvals.deny", {"approval": request(state="denied")})
    assert cli.run("deny", "ap-12ab34cd56") == 0
    assert "is denied" in cli.out


def test_an_extension_that_waits_for_a_human_is_no_success(daemon, cli, make_vm):
    """And says how it is approved."""
    answer = {"name": "web", "approval_id": "ap-1", "approval_message": "aleph-agentctl approve ap-1"}
    daemon.says("tools.call", answer)
    assert cli.run("extend", "web", "100") == 1
    assert "approve ap-1" in cli.out
    assert cli.run("extend", "web", "100", "--json") == 1


class Terminal:
    """`aleph-agentctl` on a terminal of its own, as a person uses it."""

    def __init__(self, runtime_dir: Path, *arguments: str) -> None:
        self.seen = ""
        self._pid, self._handle = pty.fork()
        if self._pid == 0:
            os.environ["ALEPH_AGENT_RUNTIME_DIR"] = str(runtime_dir)
            os.execv(sys.executable, [sys.executable, "-c", SCRIPT, *arguments])

    def types(self, prompt: str, text: str) -> None:
        """Once the prompt is there, type."""
        self._read(lambda: prompt in self.seen)
        assert prompt in self.seen
        self.seen = self.seen.split(prompt, 1)[1]
        os.write(self._handle, text.encode() + b"\n")

    def ends(self) -> int:
        """Its exit code; what it said is in `seen`."""
        self._read(lambda: False)
        os.close(self._handle)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self, enough: Any) -> None:
        while not enough() and select.select([self._handle], [], [], 30)[0]:
            try:
                data = os.read(self._handle, 4096)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            self.seen += data.decode(errors="replace")


def test_the_passphrase_is_typed_unseen_on_a_terminal(daemon, runtime_dir):
    """Twice when it is new; the old one first when there is one."""
    daemon.says("passphrase.state", {"set": False})
    daemon.says("passphrase.set", {"set": True})
    first = Terminal(runtime_dir, "passphrase", "set")
    first.types("New passphrase", SECRET)
    first.types("again", SECRET)
    assert first.ends() == 0 and SECRET not in first.seen and "is set" in first.seen
    assert daemon.asked[-1] == ("passphrase.set", {"passphrase": SECRET, "old_passphrase": None})
    daemon.says("passphrase.state", {"set": True})
    second = Terminal(runtime_dir, "passphrase", "set")
    second.types("Old passphrase", SECRET)
    second.types("New passphrase", "other one")
    second.types("again", "another one")
    assert second.ends() == 1 and "not the same" in second.seen
    assert len([method for method, _ in daemon.asked if method == "passphrase.set"]) == 1


def test_a_pipe_is_no_terminal(daemon, cli, monkeypatch):
    """What a program writes into standard input is typed by nobody."""
    daemon.says("passphrase.state", {"set": True})
    daemon.says("approvals.list", listing(request()))
    daemon.says("orphans.get", {"vm": {"item_hash": "ab" * 32}})
    real = Path.open

    def no_tty(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == Path("/dev/tty"):
            raise OSError(6, "No such device or address")
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", no_tty)
    for command in (("approve", "ap-12ab34cd56"), ("passphrase", "set"), ("orphans", "adopt", "abababab")):
        assert cli.run(*command, "--json") == 1
        assert cli.json["error"]["code"] == "no_terminal"
    assert {method for method, _ in daemon.asked} <= {"passphrase.state", "approvals.list", "orphans.get"}


@pytest.mark.parametrize("command", [("approve",), ("deny",), ("passphrase",), ("approve", "a", "b")])
def test_what_is_left_out_or_too_much_is_usage(cli, command):
    """Above all, there is no argument for a passphrase."""
    assert cli.run(*command) == 2
