"""`aleph-agentctl create`, over the agents' own tool."""

from typing import Any

import pytest

from aleph_agentd.control import create as module
from aleph_agentd.domain.errors import Denied


def _created(**changes: Any) -> dict[str, Any]:
    """An answer of aleph_create_vm."""
    return {
        "item_hash": "ab" * 32,
        "name": "web",
        "status": "running",
        "crn_name": "NtS9",
        "placement": "the best of 40",
        "ssh_command": "ssh -p 24000 root@127.0.0.2",
        "hourly_cost": 1.425,
        "total_cost_estimate": 5.7,
        "ttl_expires_at": "2026-11-23T12:00:00Z",
        "expires_in": "3 h 59 min",
        "requires_confirmation": False,
        "quote_id": None,
        "dry_run": False,
        "warnings": [],
    } | changes


QUOTE = _created(
    item_hash=None,
    status="quoted",
    requires_confirmation=True,
    quote_id="q-1",
    ssh_command="",
    total_cost_estimate=99.0,
)


def _asked(daemon: Any) -> list[dict[str, Any]]:
    return [params["arguments"] for method, params in daemon.asked if method == "tools.call"]


def test_a_vm_is_created_with_what_was_said_and_nothing_else(daemon, cli):
    """What is left out has the daemon's default."""
    daemon.says("tools.call", _created())
    assert cli.run("create", "web", "--size", "2", "--hours", "3", "--crn", "NtS9") == 0
    [arguments] = _asked(daemon)
    said = {name: value for name, value in arguments.items() if value is not False}
    assert said == {"name": "web", "compute_units": 2, "ttl_hours": 3.0, "crn_hash": "NtS9"}
    assert "ssh -p 24000 root@127.0.0.2" in cli.out
    assert "1.425 cr (US$0.01425) per hour, 5.70 cr (US$0.057) for the lease" in cli.out
    assert "in 3 h 59 min (2026-11-23 12:00:00 UTC)" in cli.out


def test_a_setup_script_comes_from_a_file_and_its_end_is_told(daemon, cli, tmp_path):
    """What the VM printed does not steer the terminal; a file that is no text is refused before anything is asked."""
    script, blob = tmp_path / "setup.sh", tmp_path / "blob"
    script.write_text("make\n")
    blob.write_bytes(b"\xff\xfe")
    ended = {
        "ready": True,
        "setup": "failed",
        "setup_output": "<untrusted 1>\n\x1b[2Jno rule\n</untrusted 1>",
    }
    daemon.says("tools.call", lambda _, params: _created(**ended if "wait" in params["name"] else {}))
    assert cli.run("create", "web", "--setup", str(script), "--wait") == 0
    assert _asked(daemon)[0]["setup"] == "make\n"
    assert "failed" in cli.out and "no rule" in cli.out
    assert "\x1b" not in cli.out
    assert cli.run("create", "web", "--setup", str(blob)) == 1
    assert len(_asked(daemon)) == 2


def test_a_setup_template_is_named_and_no_file_is_opened(daemon, cli):
    """The daemon knows what it says; a file that is not there is refused before anything is asked."""
    daemon.says("tools.call", _created())
    assert cli.run("create", "web", "--setup", "@rust") == 0
    assert _asked(daemon)[0]["setup"] == "@rust"
    assert cli.run("create", "web", "--setup", "/no/such/file") == 1
    assert "cannot be read" in cli.err
    assert len(_asked(daemon)) == 1


def test_an_idle_end_and_paths_to_save_are_passed_on(daemon, cli):
    """As the tool takes them; what was not said is left out."""
    daemon.says("tools.call", _created())
    options = ("--idle-minutes", "30", "--save", "/root/a", "--save", "/root/b")
    assert cli.run("create", "web", *options) == 0
    [arguments] = _asked(daemon)
    assert (arguments["idle_minutes"], arguments["save_on_expiry"]) == (30, ["/root/a", "/root/b"])
    assert cli.run("create", "web") == 0
    assert not {"idle_minutes", "save_on_expiry"} & _asked(daemon)[1].keys()


def test_a_price_above_the_threshold_is_asked_for_and_never_taken_for_granted(daemon, cli):
    """Without a terminal the answer is no."""
    daemon.says("tools.call", QUOTE)
    assert cli.run("create", "web") == 1
    assert "99.00 cr (US$0.99)" in cli.err
    assert "aleph-agentctl create web --yes" in cli.err
    assert len(_asked(daemon)) == 1


def test_yes_confirms_that_very_quote(daemon, cli):
    """Not whatever it costs by then."""

    def answer(_connection, params):
        return _created() if params["arguments"].get("confirmed") else QUOTE

    daemon.says("tools.call", answer)
    assert cli.run("create", "web", "--yes", "--json") == 0
    assert _asked(daemon)[1]["quote_id"] == "q-1"
    assert cli.json["status"] == "running"


def test_a_dry_run_asks_nothing_more(daemon, cli):
    """It is the whole answer."""
    daemon.says("tools.call", QUOTE | {"dry_run": True})
    assert cli.run("create", "web", "--dry-run") == 0
    assert _asked(daemon)[0]["dry_run"] is True
    assert "quoted" in cli.out


def test_what_needs_approval_is_not_done(daemon, cli):
    """Exit 1, with the next step."""
    message = "aleph-agentctl approve ap-1"
    daemon.says(
        "tools.call",
        QUOTE | {"requires_confirmation": False, "approval_id": "ap-1", "approval_message": message},
    )
    assert cli.run("create", "web") == 1
    assert message in cli.out


@pytest.mark.parametrize(("ready", "code"), [(True, 0), (False, 1)])
def test_wait_returns_when_ssh_answers_or_patience_ends(daemon, cli, monkeypatch, ready, code):
    """A script that goes on to log in must not find a closed door."""
    monkeypatch.setattr(module, "_LOOKS", 2)
    looks = iter([{"ready": False}, {"ready": ready}])

    def answer(_connection, params):
        return _created() if params["name"] == "aleph_create_vm" else next(looks)

    daemon.says("tools.call", answer)
    assert cli.run("create", "web", "--wait") == code


def test_a_refusal_is_told_in_the_daemon_s_words(daemon, cli):
    """The same rules as for an agent."""
    daemon.says("tools.call", Denied("3 VMs are live", "destroy one", code="max_concurrent_vms"))
    assert cli.run("create", "web") == 1
    assert "next: destroy one" in cli.err
