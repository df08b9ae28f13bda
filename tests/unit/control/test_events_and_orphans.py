"""`aleph-agentctl events` and `orphans`."""

import json
import signal
import subprocess
import sys

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
        return {"watching": True, "last_id": after}

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


def test_following_ends_well_with_ctrl_c(daemon, runtime_dir):
    """Ctrl-C is how one stops to watch, not a failure."""
    daemon.says("events.watch", watcher(2))
    command = [sys.executable, "-m", "aleph_agentd.control", "events", "--since", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
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
