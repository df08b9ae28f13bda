"""`aleph-agentctl events` and `orphans`."""

import asyncio
import json
import signal
import subprocess
import sys

from aleph_agentd.control import terminal
from aleph_agentd.domain.errors import BadInput

EVENT = {
    "at": "2026-11-23T04:00:00Z",
    "kind": "running",
    "item_hash": "ab" * 32,
    "name": "web",
    "text": "SSH answers",
}


def watcher(last_id):
    """A handler of `events.watch` that sends all events after the one asked for."""

    def watch(connection, params):
        connection.watch()
        after = params.get("after_id", last_id)
        for number in range(after + 1, last_id + 1):
            connection.notify("event", EVENT | {"id": number})
        return {"watching": True, "last_id": last_id}

    return watch


def test_no_follow_prints_what_there_is_and_ends(daemon, cli):
    """From the first one, or after --since."""
    daemon.says("events.watch", watcher(3))
    assert cli.run("events", "--no-follow", "--json") == 0
    assert [json.loads(line)["id"] for line in cli.out.splitlines()] == [1, 2, 3]
    assert cli.run("events", "--no-follow", "--since", "2") == 0
    assert cli.out == "3  2026-11-23 04:00:00 UTC  running  web (abababababababab): SSH answers\n"
    assert cli.run("events", "--no-follow", "--since", "3") == 0
    assert cli.out == ""


def test_a_number_that_no_event_has_yet_is_followed_from_the_newest_one(daemon, cli):
    """After a lost inventory numbers begin again: what comes is shown, not what comes after number 5000."""

    def watch(connection, params):
        if params:
            loop = asyncio.get_running_loop()
            loop.call_soon(connection.notify, "event", EVENT | {"id": 4})
            loop.call_later(0.3, connection.close)
        return {"watching": True, "last_id": 3}

    daemon.says("events.watch", watch)
    assert cli.run("events", "--since", "5000") == 69
    assert cli.out.startswith("4 ")
    assert [params for _, params in daemon.asked] == [{}, {"after_id": 3}]


def test_following_ends_well_with_ctrl_c(daemon, runtime_dir):
    """Ctrl-C is how one stops to watch, not a failure."""
    daemon.says("events.watch", watcher(2))
    command = [sys.executable, "-m", "aleph_agentd.control", "events", "--since", "0"]
    # Whoever runs the tests in the background may have Ctrl-C ignored, which is inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        following = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with following as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("1 ")
        assert process.stdout.readline().startswith("2 ")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


def test_when_the_daemon_goes_away_the_way_to_continue_is_told(daemon, cli):
    """Nothing is missed: --since the last one seen."""

    def watch_and_die(connection, params):
        answer = watcher(2)(connection, params)
        if params:
            connection._loop.call_later(0.05, connection.close)
        return answer

    daemon.says("events.watch", watch_and_die)
    assert cli.run("events", "--since", "0") == 69
    assert "aleph-agentctl events --since 2" in cli.err


SWEEP = {
    "at": "2026-11-23T04:00:00Z",
    "trouble": "",
    "listed": 3,
    "orphans": 0,
    "strangers": 0,
    "undead": 0,
    "stale": 0,
}


def test_no_orphans_is_said_only_after_a_sweep_without_trouble(daemon, cli):
    """A listing that failed is not an empty one."""
    daemon.says("orphans.list", {"orphans": [], "strangers": [], "sweep": SWEEP})
    assert cli.run("orphans") == 0
    assert "None: every VM" in cli.out
    daemon.says(
        "orphans.list", {"orphans": [], "strangers": [], "sweep": SWEEP | {"trouble": "the network is away"}}
    )
    assert cli.run("orphans") == 0
    assert "None" not in cli.out and "unknown" in cli.out and "the network is away" in cli.out


def test_a_sweep_comes_before_the_list_if_asked_for(daemon, cli, make_vm):
    """And orphans are told from strangers."""
    daemon.says("sweep.run", {"sweep": SWEEP})
    daemon.says(
        "orphans.list",
        {"orphans": [make_vm(status="orphan")], "strangers": [make_vm("other")], "sweep": SWEEP},
    )
    assert cli.run("orphans", "--sweep") == 0
    assert [method for method, _ in daemon.asked] == ["sweep.run", "orphans.list"]
    assert "not made by any installation" in cli.out and "another installation" in cli.out


def test_what_a_halted_sweep_spared_needs_a_second_look_to_end(daemon, cli, typed):
    """The line says why, and the way on says that somebody looked."""
    halted = SWEEP | {"halted": "6 of 9 VMs would be ended by one sweep", "undead": 6}
    daemon.says("sweep.run", {"sweep": halted})
    daemon.says("orphans.list", {"orphans": [], "strangers": [], "sweep": halted})
    assert cli.run("orphans", "--sweep") == 0
    assert "6 undead" in cli.out and "halted: 6 of 9" in cli.out
    assert cli.run("orphans", "--sweep", "--anyway") == 0
    assert [params for method, params in daemon.asked if method == "sweep.run"] == [
        {"anyway": False},
        {"anyway": True, "passphrase": "open sesame"},
    ]
    assert cli.run("orphans", "--anyway") == 2


def test_an_orphan_is_adopted_by_its_hash(daemon, cli, make_vm, typed):
    """The whole one, of the VM that was looked up first; and the lease that it got is told."""
    whole = "ab" * 32
    daemon.says("orphans.get", {"vm": make_vm(item_hash=whole)})
    daemon.says("orphans.adopt", {"vm": make_vm("recovered-ab")})
    assert cli.run("orphans", "adopt", "abababab") == 0
    assert "recovered-ab" in cli.out and "1 h 55 min" in cli.out
    asked = {"item_hash": whole, "passphrase": "open sesame"}
    assert daemon.asked == [
        ("orphans.get", {"item_hash": "abababab"}),
        ("passphrase.state", {}),
        ("orphans.adopt", asked),
    ]
    assert cli.run("orphans", "adopt", "abababab", "--json") == 0
    assert cli.json["vm"]["name"] == "recovered-ab"


def test_a_hash_that_names_no_orphan_is_told_before_anybody_types_a_passphrase(daemon, cli, monkeypatch):
    """Too short, unknown, or of two: the passphrase would have been typed for nothing."""
    typed: list[str] = []
    monkeypatch.setattr(terminal, "ask_passphrase", lambda *_: typed.append("asked") or "open sesame")
    daemon.says("passphrase.state", {"set": True})
    daemon.says("orphans.get", BadInput("item_hash needs at least 8 characters of a hash."))
    assert cli.run("orphans", "adopt", "abab") == 1
    assert "at least 8 characters" in cli.err
    assert (typed, [method for method, _ in daemon.asked]) == ([], ["orphans.get"])


def test_an_orphan_is_destroyed_only_with_a_yes(daemon, cli, make_vm):
    """There is no terminal here to ask on; what is not confirmed is no success."""
    daemon.says("orphans.destroy", {"vm": make_vm(status="gone"), "billing_ended": True})
    assert cli.run("orphans", "destroy", "abababab") == 1
    assert "--yes abababab" in cli.err and daemon.asked == []
    assert cli.run("orphans", "destroy", "abababab", "--yes") == 0
    assert "its billing has ended" in cli.out
    daemon.says("orphans.destroy", {"vm": make_vm(status="destroying"), "billing_ended": False})
    assert cli.run("orphans", "destroy", "--yes", "abababab") == 1


def test_recover_says_what_it_took_in_and_what_it_did_not(daemon, cli, make_vm, typed):
    """Other installations' VMs only if asked for."""
    answer = {"adopted": [make_vm("recovered-1")], "waiting": 1, "strangers": 2, "orphans": 3}
    daemon.says("recover", answer)
    assert cli.run("recover") == 0
    assert "1 VM was taken" in cli.out and "recovered-1" in cli.out
    assert "recover --others" in cli.out and "3 carry no stamp" in cli.out
    assert cli.run("recover", "--others", "--json") == 0
    assert cli.json == answer
    assert [params for method, params in daemon.asked if method == "recover"] == [
        {"others": False},
        {"others": True, "passphrase": "open sesame"},
    ]
