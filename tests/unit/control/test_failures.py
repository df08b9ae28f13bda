"""How aleph-agentctl fails: exit codes, words, and JSON."""

from types import SimpleNamespace

import pytest

from aleph_agentd.domain.errors import Denied


def test_no_daemon_is_69_with_the_command_that_starts_it(cli, runtime_dir):
    """What, why, and what to type next."""
    assert cli.run("status") == 69
    assert "control.sock: No such file or directory" in cli.err
    assert f"next: ALEPH_AGENT_RUNTIME_DIR={runtime_dir} aleph-agentd run" in cli.err
    assert cli.out == ""


def test_where_units_are_installed_they_are_what_is_started(cli, runtime_dir, monkeypatch):
    """A stopped socket is no reason to run a second daemon by hand."""
    monkeypatch.delenv("ALEPH_AGENT_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_dir / "none"))
    monkeypatch.setattr("aleph_agentd.runtime_dir.client_dirs", lambda _: [runtime_dir / "none"])
    folders = {kind: runtime_dir / kind for kind in ("user", "system")}
    monkeypatch.setattr(
        "aleph_agentd.control.daemon.place_of", lambda kind, _: SimpleNamespace(folder=folders[kind])
    )
    assert cli.run("status") == 69
    assert "next: aleph-agentd run" in cli.err
    for kind, said in (
        ("system", "next: sudo systemctl start aleph-agentd\n"),
        ("user", "next: systemctl --user start aleph-agentd\n"),
    ):
        folders[kind].mkdir()
        (folders[kind] / "aleph-agentd.service").touch()
        assert cli.run("status") == 69
        assert said in cli.err


def test_with_json_an_error_is_an_object_on_stdout_as_well(cli):
    """Programs read stdout, people read stderr."""
    assert cli.run("vms", "--json") == 69
    assert cli.json["error"]["code"] == "unavailable"
    assert "no daemon answers" in cli.err


@pytest.mark.parametrize("chosen", ["relative/dir", "/" + "x" * 120])
def test_an_unusable_runtime_directory_is_78(cli, monkeypatch, chosen):
    """A setting that cannot work is named."""
    monkeypatch.setenv("ALEPH_AGENT_RUNTIME_DIR", chosen)
    assert cli.run("status") == 78
    assert "ALEPH_AGENT_RUNTIME_DIR" in cli.err


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["vms", "--limit", "0"], ["destroy"], ["extend", "web", "-1"], ["extend", "web", "nan"]],
)
def test_wrong_usage_is_2(cli, arguments):
    """Click's own complaints, in our form."""
    assert cli.run(*arguments, "--json") == 2
    assert cli.json["error"]["code"] == "usage"
    assert "--help" in cli.err


def test_a_refusal_is_1_in_the_daemons_own_words(daemon, cli):
    """The hint of the daemon is the next step."""
    daemon.says(
        "tools.call",
        Denied("over the daily limit", "raise ALEPH_AGENT_MAX_DAILY_SPEND", code="max_daily_spend"),
    )
    assert cli.run("extend", "web", "3") == 1
    assert "error: over the daily limit" in cli.err
    assert "next: raise ALEPH_AGENT_MAX_DAILY_SPEND" in cli.err
