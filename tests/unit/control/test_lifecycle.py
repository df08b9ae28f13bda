"""`aleph-agentctl destroy` and `extend`."""

import os
import pty
import subprocess
import sys

import pytest

from aleph_agentd.domain.errors import Unavailable


def destroyed(row, **changes):
    """What the tool answers."""
    return {
        "status": "destroyed",
        "item_hash": row["item_hash"],
        "name": row["name"],
        "runtime_minutes": 61.0,
        "estimated_cost_incurred": 1.45,
        "estimated_cost_incurred_usd": 0.0145,
        "billing_ended": True,
        "note": "",
    } | changes


@pytest.fixture
def two_vms(daemon, make_vm):
    """A daemon with the VMs `web` and `db`."""
    rows = {name: make_vm(name) for name in ("web", "db")}
    rows |= {row["item_hash"]: row for row in rows.values()}
    daemon.says("vms.get", lambda _, params: rows[params["item_hash"]])
    daemon.says("tools.call", lambda _, params: destroyed(rows[params["arguments"]["item_hash"]]))
    return daemon


def ordered(daemon):
    """The hashes that were ordered destroyed."""
    return [params["arguments"]["item_hash"] for method, params in daemon.asked if method == "tools.call"]


def test_destroy_tells_runtime_and_cost(two_vms, cli, make_vm):
    """Each of them, by its exact hash, with a request key of its own."""
    assert cli.run("destroy", "--yes", "web", "db", "web") == 0
    assert "web (7765620000000000) destroyed after 1 h 1 min; it cost 1.45 cr (US$0.0145)" in cli.out
    assert ordered(two_vms) == [make_vm("web")["item_hash"], make_vm("db")["item_hash"]]
    keys = {params["request_key"] for method, params in two_vms.asked if method == "tools.call"}
    assert len(keys) == 2


def test_without_a_terminal_and_without_yes_nothing_is_destroyed(two_vms, cli, monkeypatch):
    """And the command that does it is given."""
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert cli.run("destroy", "web") == 1
    assert "aleph-agentctl destroy --yes 7765620000000000" in cli.err
    assert ordered(two_vms) == []


def on_a_terminal(answer: str, *arguments: str) -> tuple[int, str]:
    """Run the CLI on a pseudo-terminal, and type an answer."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "aleph_agentd.control", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:
            pass  # Linux says EIO at the end of a terminal
    os.close(ours)
    return process.returncode, shown.decode()


def test_on_a_terminal_it_asks_and_names_the_cost_so_far(two_vms):
    """A no destroys nothing, a yes does."""
    code, shown = on_a_terminal("n\n", "destroy", "web")
    assert code == 1 and "2.97 cr (US$0.0297) so far" in shown and "Destroy this VM?" in shown
    assert ordered(two_vms) == []
    code, shown = on_a_terminal("y\n", "destroy", "web", "db")
    assert code == 0 and "these 2 VMs" in shown
    assert len(ordered(two_vms)) == 2


def test_one_failure_does_not_hide_the_others(two_vms, cli, make_vm):
    """Exit 1, both told."""

    def one_fails(_, params):
        if params["arguments"]["item_hash"] == make_vm("db")["item_hash"]:
            raise Unavailable("no key", "unlock it")
        return destroyed(make_vm("web"))

    two_vms.says("tools.call", one_fails)
    assert cli.run("destroy", "--yes", "web", "db") == 1
    assert "web (7765620000000000) destroyed" in cli.out
    assert "no key" in cli.err
    assert cli.run("destroy", "--yes", "web", "db", "--json") == 1
    assert [sorted(result)[0] for result in cli.json["results"]] == ["billing_ended", "error"]


def test_ordered_but_not_confirmed_is_not_done(two_vms, cli, make_vm):
    """A script must not take it for gone."""
    two_vms.says(
        "tools.call",
        destroyed(make_vm(), status="destroying", billing_ended=False, note="Ordered, not confirmed yet."),
    )
    assert cli.run("destroy", "--yes", "web") == 1
    assert "destroying" in cli.out and "not confirmed yet" in cli.out


def test_extend_tells_the_new_end_and_its_price(daemon, cli, make_vm):
    """As the human, through the agents' tool."""
    answer = {
        "item_hash": make_vm()["item_hash"],
        "name": "web",
        "new_ttl_expires_at": "2026-11-23T15:00:00Z",
        "expires_in": "4 h 55 min",
        "additional_cost_estimate": 4.275,
        "additional_cost_estimate_usd": 0.04275,
    }
    daemon.says("tools.call", answer)
    assert cli.run("extend", "web", "3") == 0
    assert "now ends in 4 h 55 min (2026-11-23 15:00:00 UTC)" in cli.out
    assert "4.275 cr (US$0.04275)" in cli.out
    ((_, params),) = daemon.asked
    assert params["name"] == "aleph_extend_vm"
    assert params["arguments"] == {"item_hash": "web", "additional_hours": 3.0}
