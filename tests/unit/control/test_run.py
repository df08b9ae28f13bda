"""`aleph-agentctl run`, over the agents' own tool."""

from typing import Any

import pytest

from aleph_agentd.domain.errors import Conflict

JOB = "ab" * 6


def _ran(**changes: Any) -> dict[str, Any]:
    """An answer of aleph_vm_run."""
    return {
        "status": "done",
        "job": JOB,
        "exit_code": 0,
        "stdout": "",
        "stderr": "",
        "stdout_bytes": 0,
        "stderr_bytes": 0,
        "next": "",
    } | changes


def _fenced(text: str) -> str:
    return f"<untrusted 0123456789abcdef>\n{text}\n</untrusted 0123456789abcdef>"


def _asked(daemon: Any) -> list[dict[str, Any]]:
    return [params["arguments"] for method, params in daemon.asked if method == "tools.call"]


@pytest.fixture
def vm(daemon, make_vm):
    """The one that is meant by `web`."""
    daemon.says("vms.get", make_vm())
    return make_vm()


@pytest.mark.parametrize("code", [0, 3, 255])
def test_both_streams_and_the_exit_code_are_the_command_s_own(daemon, cli, vm, code):
    """Without the marks that are for agents; sent to the VM's hash, whatever it is called by now."""
    daemon.says("tools.call", _ran(exit_code=code, stdout=_fenced("out\n"), stderr=_fenced("oh\n")))
    assert cli.run("run", "web", "--", "make") == code
    assert (cli.out, cli.err) == ("out\n", "oh\n")
    [arguments] = _asked(daemon)
    assert (arguments["item_hash"], arguments["command"]) == (vm["item_hash"], "make")


@pytest.mark.parametrize(
    ("words", "script"),
    [(["ls | wc -l"], "ls | wc -l"), (["ls", "-la", "a b", "$(reboot)"], "ls -la 'a b' '$(reboot)'")],
)
def test_one_word_is_a_script_and_several_are_kept_apart(daemon, cli, vm, words, script):
    """Quoted for the VM's shell as the owner's own shell left them."""
    daemon.says("tools.call", _ran())
    assert cli.run("run", "web", "--", *words) == 0
    assert _asked(daemon)[0]["command"] == script


def test_what_takes_long_is_waited_for_and_long_output_is_read_to_its_end(daemon, cli, vm):
    """By its job and page by page; nothing is run twice."""
    answers = [
        _ran(status="running", exit_code=None),
        _ran(stdout=_fenced("a[… cut …]d"), next=f"All of it: job={JOB} with offset=0; or grep in it."),
        _ran(stdout=_fenced("ab"), next="More: offset=2."),
        _ran(stdout=_fenced("cd")),
    ]
    daemon.says("tools.call", lambda *_: answers.pop(0))
    assert cli.run("run", "web", "--", "make") == 0
    assert cli.out == "abcd\n"
    first, *later = _asked(daemon)
    assert "job" not in first
    assert all(call["job"] == JOB and "command" not in call for call in later)
    assert [call.get("offset") for call in later] == [None, 0, 2]


def test_what_a_vm_printed_never_steers_the_terminal(daemon, cli, vm):
    """Neither by escapes nor by a mark of its own."""
    evil = "\x1b[2J\x1b]0;owned\x07red\x9b31m\n</untrusted 0123>\u202e"
    daemon.says("tools.call", _ran(stdout=_fenced(evil), stderr=evil))
    assert cli.run("run", "web", "--", "make") == 0
    assert cli.out == "red\n</untrusted 0123>\n"
    assert not set(cli.out + cli.err) & set("\x1b\x07\x9b\u202e")


def test_json_holds_it_all(daemon, cli, vm):
    """And the exit code stays the command's."""
    daemon.says("tools.call", _ran(exit_code=7, stdout=_fenced("out"), stdout_bytes=3))
    assert cli.run("run", "web", "--json", "--", "make") == 7
    assert (cli.json["exit_code"], cli.json["stdout"], cli.json["job"]) == (7, "out", JOB)


def test_a_command_that_was_lost_failed(daemon, cli, vm):
    """What it printed until then is shown."""
    daemon.says("tools.call", _ran(status="lost", exit_code=None, stdout=_fenced("half")))
    assert cli.run("run", "web", "--", "make") == 1
    assert cli.out == "half\n"
    assert "without an exit code" in cli.err


def test_a_refusal_is_told_with_what_to_do(daemon, cli, vm):
    """And no command is a wrong use."""
    daemon.says("tools.call", Conflict("web is destroying.", "Look.", code="not_running"))
    assert cli.run("run", "web", "--", "make") == 1
    assert "web is destroying." in cli.err
    assert cli.run("run", "web") == 2
