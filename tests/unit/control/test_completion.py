"""`aleph-agentctl completion`, in the shells themselves where they are installed; and verbs that are misspelt."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from aleph_agentd.control.__main__ import cli as cli_group

CASES = [
    (("",), {"status", "vms", "create", "top", "orphans"}, {"adopt", "--csv"}),
    (("sp",), {"spend"}, {"status"}),
    (("vms", "--"), {"--ended", "--limit", "--json"}, {"--csv"}),
    (("orphans", ""), {"adopt", "destroy"}, {"status"}),
    (("completion", ""), {"bash", "zsh", "fish"}, {"status"}),
]


def _shell(program: str) -> str:
    return shutil.which(program) or pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize(("typed", "offered", "not_offered"), CASES)
def test_bash_offers_what_can_follow(cli, tmp_path, typed, offered, not_offered):
    """Verbs, verbs of verbs, options: each where it fits."""
    bash = _shell("bash")
    assert cli.run("completion", "bash") == 0
    words = " ".join(f'"{word}"' for word in ("aleph-agentctl", *typed))
    script = f'{cli.out}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed)}; _aleph_agentctl; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run([bash, "--norc", "-c", script], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert offered <= found
    assert not not_offered & found
    assert done.stderr == ""


@pytest.mark.parametrize(("typed", "offered", "not_offered"), CASES[:4])
def test_fish_offers_what_can_follow(cli, tmp_path, typed, offered, not_offered):
    """Asked as fish asks itself."""
    fish = _shell("fish")
    cli.run("completion", "fish")
    (tmp_path / "it.fish").write_text(cli.out)
    ask = f"source {tmp_path}/it.fish; complete -C 'aleph-agentctl {' '.join(typed)}'"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [fish, "--no-config", "-c", ask], capture_output=True, text=True, check=True, env=environment
    )
    found = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert offered <= found
    assert not not_offered & found


def _zsh(tmp_path: Path, script: str, ask: str) -> str:
    """What zsh says, with the script where its completion system finds it."""
    (tmp_path / "_aleph-agentctl").write_text(script)
    begin = f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; "
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [_shell("zsh"), "-f", "-c", begin + ask]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return done.stdout


def test_zsh_knows_by_the_script_what_completes_the_program(cli, tmp_path):
    """Its first line tells."""
    cli.run("completion", "zsh")
    assert _zsh(tmp_path, cli.out, "echo $_comps[aleph-agentctl]").split() == ["_aleph-agentctl"]


@pytest.mark.parametrize(("typed", "offered", "not_offered"), CASES[2:4])
def test_zsh_is_offered_what_can_follow(cli, tmp_path, typed, offered, not_offered):
    """At the very first TAB, which loads the script; zsh itself leaves out what does not begin so."""
    cli.run("completion", "zsh")
    words = " ".join(f"'{word}'" for word in ("aleph-agentctl", *typed))
    ask = f'_describe() {{ print -l -- "${{(@P)4}}" }}; words=({words}); CURRENT={len(typed) + 1}; _aleph-agentctl'
    found = {line.split(":")[0] for line in _zsh(tmp_path, cli.out, ask).splitlines()}
    assert offered <= found
    assert not not_offered & found


@pytest.mark.parametrize(
    ("typed", "meant"), [("stats", "status"), ("aprove", "approve"), ("vm5", "vms"), ("kei", "key")]
)
def test_a_verb_that_is_misspelt_is_guessed(cli, typed, meant):
    """Not run."""
    assert cli.run(typed) == 2
    assert "Did you mean" in cli.err
    assert f"`{meant}`" in cli.err


def test_a_verb_of_a_verb_is_guessed_too(cli):
    """With the words in front of it in the next step."""
    assert cli.run("orphans", "adpot") == 2
    assert "Did you mean `adopt`?" in cli.err
    assert "aleph-agentctl orphans --help" in cli.err


def _all(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _all(inner, f"{path} {name}")


@pytest.mark.parametrize(("path", "command"), list(_all(cli_group, "aleph-agentctl")))
def test_every_verb_takes_json_and_says_what_it_does(path, command):
    """Programs use them all, and people read one line about each."""
    assert "--json" in {name for parameter in command.params for name in parameter.opts}, path
    assert command.help, path
    assert all(parameter.help for parameter in command.params if isinstance(parameter, click.Option)), path
