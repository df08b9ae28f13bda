"""`freeze`, `unfreeze`, `panic`: what the CLI asks, and when it says that it is done."""

from aleph_agentd.control import terminal
from aleph_agentd.domain.errors import Denied

FROZEN = {
    "freezes": [
        {
            "n": 1,
            "kind": "freeze",
            "project": "",
            "by": "the owner",
            "reason": "a smell",
            "at": "2026-11-23T12:00:00Z",
        }
    ]
}
RUNNING = {"panics": True, "done": False, "billing": 2, "erasing": 0, "listed": None, "trouble": "away"}


def test_freeze_says_what_is_frozen_and_why(daemon, cli):
    """For everybody, or one project."""
    daemon.says("freeze", FROZEN)
    assert cli.run("freeze", "a smell", "--project", "/home/you/web") == 0
    assert daemon.asked == [("freeze", {"reason": "a smell", "project": "/home/you/web"})]
    assert "creates and extends: frozen since" in cli.out
    assert "a smell" in cli.out
    assert cli.run("freeze", "--json") == 0
    assert cli.json == FROZEN


def test_unfreeze_says_what_is_left(daemon, cli, monkeypatch):
    """With the passphrase, which is typed; and passes on who is refused."""
    monkeypatch.setattr(terminal, "ask_passphrase", lambda: "open sesame")
    daemon.says("passphrase.state", {"set": True})
    daemon.says("unfreeze", {"lifted": 2, "freezes": []})
    assert cli.run("unfreeze") == 0
    assert daemon.asked[-1] == ("unfreeze", {"passphrase": "open sesame"})
    assert "2 freezes lifted" in cli.out
    assert "nothing is frozen" in cli.out
    daemon.says("unfreeze", Denied("The passphrase is wrong.", "Try again.", code="passphrase"))
    assert cli.run("unfreeze") == 1


def test_panic_is_typed_or_refused(daemon, cli):
    """Without a terminal nothing is destroyed by accident."""
    daemon.says("vms.list", {"total": 3, "vms": []})
    daemon.says("panic", RUNNING)
    assert cli.run("panic") == 1
    assert "panic --yes" in cli.err
    assert ("panic", {"confirm": "destroy every VM"}) not in daemon.asked


def test_panic_returns_when_the_network_has_confirmed_it(daemon, cli):
    """Not before: its exit code is a promise."""
    answers = [RUNNING, {**RUNNING, "billing": 0, "listed": 0, "erasing": 1, "trouble": "", "done": True}]
    daemon.says("panic", RUNNING)
    daemon.says("panic.status", lambda _, __: answers.pop(0))
    assert cli.run("panic", "--yes") == 0
    assert answers == []
    assert "the network confirms" in cli.out
    assert "1 VM waits until the erase" in cli.out
    assert "an unknown number of VMs" in cli.err


def test_a_panic_that_somebody_lifts_is_not_done(daemon, cli):
    """Exit 1."""
    daemon.says("panic", RUNNING)
    daemon.says("panic.status", {**RUNNING, "panics": False})
    assert cli.run("panic", "--yes") == 1
    assert "lifted" in cli.err
