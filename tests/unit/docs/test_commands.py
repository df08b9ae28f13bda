"""Every command that README and docs name is one that there is, with the options that they name.

What the owner types is run in tests/e2e/test_docs_commands.py; here is everything else, in blocks and in sentences.
"""

import contextlib
import io
import re
import shlex

import pytest

from aleph_agentd.control.__main__ import main
from aleph_devnet.__main__ import main as devnet
from support.source import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OWNERS = "aleph-agentctl"
RUN_BY = {
    "make demo": "tests/e2e/test_demo.py",
    "make test": ".ci/run",
    "python3 -m venv ~/.local/share/aleph-agentd": "Makefile",
    "~/.local/share/aleph-agentd/bin/pip install -c constraints.txt .": "Makefile",
    'export PATH="$HOME/.local/share/aleph-agentd/bin:$PATH"': "Makefile",
    "systemctl --user start aleph-agentd": "tests/systemd/user/test_life.py",
    "sudo python3 -m venv /opt/aleph-agentd": "Makefile",
    "sudo /opt/aleph-agentd/bin/pip install -c constraints.txt .": "Makefile",
    "sudo /opt/aleph-agentd/bin/aleph-agentctl install --system": "tests/systemd/system/test_boundary.py",
    "aleph-agentd run": "tests/e2e/test_docs_commands.py",
    "claude mcp add aleph-agent -- aleph-agent-mcp": "tests/clients/test_claude_code.py",
    "claude mcp list": "tests/clients/test_claude_code.py",
    "aleph-devnet run --dir /tmp/devnet &": "tests/e2e/test_docs_commands.py",
    'eval "$(aleph-devnet env --dir /tmp/devnet)"': "tests/e2e/test_docs_commands.py",
    "aleph-devnet run &": "tests/devnet/test_process.py",
    'eval "$(aleph-devnet env)"': "tests/devnet/test_process.py",
    'aleph-devnet run --guest bwrap --guest-tools "$(rustc --print sysroot)"': "tests/clients/conftest.py",
    "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 FAKETIME_TIMESTAMP_FILE=DIR/clock "
    "FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_FORCE_MONOTONIC_FIX=0 aleph-agentd run": (
        "tests/e2e/test_clock.py"
    ),
}
"""The lines of shell blocks that are not the owner's, and what runs each of them, in this form or in that of a test."""


def block_lines() -> list[tuple[str, str]]:
    """Every command of a shell block, with the comment behind it."""
    lines = []
    for page in PAGES:
        for block in re.findall(r"^ *```sh\n(.*?)```", page.read_text(), re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", "").splitlines():
                command, _, comment = line.partition(" #")
                if command.strip():
                    lines.append((command.strip(), comment))
    return lines


def sentences() -> list[str]:
    """Every command that stands in a sentence."""
    found: dict[str, None] = {}
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for code in re.findall(r"`([^`]+)`", text):
            found[" ".join(code.split())] = None
    return list(found)


def helped(words: list[str]) -> str:
    """The help of the innermost command that these words name."""
    names = [word for word in words if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
    for most in range(min(2, len(names)), -1, -1):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            code = main([*names[:most], "--help"])
        if code == 0 and most:
            return said.getvalue()
    raise AssertionError(f"no command: {' '.join(words)}")


def test_who_runs_a_line_of_a_block_is_known() -> None:
    """A new one wants a test, and what is excused is on a page."""
    others = {command for command, _ in block_lines() if not command.startswith(f"{OWNERS} ")}
    assert others == set(RUN_BY)
    assert [place for place in RUN_BY.values() if not (ROOT / place).is_file()] == []


def test_every_option_that_a_comment_names_is_there() -> None:
    """`aleph-agentctl spend  # …; --since, --csv`."""
    told = [
        (command, option)
        for command, comment in block_lines()
        if command.startswith(f"{OWNERS} ")
        for option in re.findall(r"--[a-z][a-z-]*", f"{command.partition(' -- ')[0]} {comment}")
    ]
    assert len(told) > 15
    assert [one for one in told if one[1] not in helped(shlex.split(one[0])[1:])] == []


@pytest.mark.parametrize(
    "sentence", [s for s in sentences() if re.match(rf"(\w+=\s*)?(sudo )?{OWNERS} \w", s)]
)
def test_an_owner_s_command_in_a_sentence_is_one(sentence: str) -> None:
    """With its options."""
    words = shlex.split(re.split(r" [>|&] ", sentence.partition(OWNERS)[2])[0])
    text = helped(words)
    assert [word for word in words if word.startswith("--") and word not in text] == []


def test_every_option_of_the_network_is_in_its_table() -> None:
    """And none that is not."""
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        devnet(["run", "--help"])
    options = set(re.findall(r"--[a-z][a-z-]*", said.getvalue())) - {"--help"}
    table = (ROOT / "docs/devnet.md").read_text().partition("## Options of `run`")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(--[a-z-]+)", table)) == options


def test_a_make_target_in_a_sentence_is_one() -> None:
    """All are in the Makefile."""
    named = {words.split()[1] for words in sentences() if re.match(r"make [a-z]", words)}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert len(named) > 10
    assert named - targets == set()
