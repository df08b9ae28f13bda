"""`upgrade-check`: what runs against what is installed."""

from aleph_agentd import __version__


def test_the_same_version_needs_nothing(daemon, cli):
    """Exit 0."""
    daemon.says("hello", {"version": __version__, "protocol": 1})
    assert cli.run("upgrade-check", "--json") == 0
    assert cli.json == {"same": True, "running": __version__, "installed": __version__, "next": ""}


def test_another_version_is_told_with_the_next_command(daemon, cli):
    """Exit 1; the old one's answer is only shown."""
    daemon.says("hello", {"version": "0.0.1\x1b[2J", "protocol": 1})
    assert cli.run("upgrade-check") == 1
    assert "0.0.1\\x1b[2J runs" in cli.out and "systemctl --user restart aleph-agentd" in cli.out
