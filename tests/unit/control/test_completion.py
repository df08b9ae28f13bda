"""`aleph-agentctl completion`, in the shells themselves where they are installed; and verbs that are misspelt."""

import shutil
import subprocess

import pytest

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


def test_zsh_reads_the_script(cli, tmp_path):
    """And knows by it which function completes the program."""
    zsh = _shell("zsh")
    cli.run("completion", "zsh")
    (tmp_path / "_aleph-agentctl").write_text(cli.out)
    ask = f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; echo $_comps[aleph-agentctl]; zsh -n {tmp_path}/_aleph-agentctl"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([zsh, "-f", "-c", ask], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["_aleph-agentctl"]


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
