"""`upgrade-check`: what runs against what is installed."""

import sys
from pathlib import Path

from aleph_agentd import __version__
from aleph_agentd.control import upgrade
from aleph_agentd.control.installed import Installation


def test_the_same_version_needs_nothing(daemon, cli):
    """Exit 0."""
    daemon.says("hello", {"version": __version__, "protocol": 1})
    assert cli.run("upgrade-check", "--json") == 0
    assert cli.json == {"same": True, "running": __version__, "installed": __version__, "next": ""}


def test_another_version_is_told_with_the_next_command(daemon, cli, monkeypatch):
    """Exit 1; the old one's answer is only shown. A new install renders the new version's units, and restarts."""
    daemon.says("hello", {"version": "0.0.1\x1b[2J", "protocol": 1})
    monkeypatch.setattr(upgrade.installed, "look", lambda _: Installation(unit="/u/aleph-agentd.service"))
    assert cli.run("upgrade-check") == 1
    assert "0.0.1\\x1b[2J runs" in cli.out and cli.out.rstrip().endswith("aleph-agentctl install")


def test_a_daemon_outside_of_systemd_is_restarted_by_its_owner(daemon, cli):
    """The command names the runtime directory that was looked in."""
    daemon.says("hello", {"version": "0.0.1", "protocol": 1})
    assert cli.run("upgrade-check", "--json") == 1
    assert cli.json["next"].startswith("stop it, then: ALEPH_AGENT_RUNTIME_DIR=")


def test_a_system_installation_is_upgraded_by_root_with_the_full_path(daemon, cli, monkeypatch):
    """sudo's PATH has no program of ours."""
    daemon.says("hello", {"version": "0.0.1", "protocol": 1})
    there = Installation(kind="system", unit="/u/aleph-agentd.service")
    monkeypatch.setattr(upgrade.installed, "look", lambda _: there)
    cli.run("upgrade-check", "--json")
    program = Path(sys.executable).with_name("aleph-agentctl")
    assert cli.json["next"] == f"sudo {program} install --system"


def test_the_daemon_of_the_unit_is_compared_not_the_first_that_answers(
    daemon, daemon_at, cli, monkeypatch, tmp_path
):
    """The next step is for the unit, too."""
    daemon.says("hello", {"version": "0.0.1", "protocol": 1})
    daemon_at(tmp_path / "u/control.sock").says("hello", {"version": __version__, "protocol": 1})
    there = Installation(unit="/u/aleph-agentd.service", runtime=tmp_path / "u")
    monkeypatch.setattr(upgrade.installed, "look", lambda _: there)
    assert cli.run("upgrade-check", "--json") == 0
