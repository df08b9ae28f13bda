"""The owner's commands as README and docs write them, run one after another against a real daemon with a VM.

What else there is in shell blocks and in sentences: tests/unit/docs/test_commands.py.
"""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aleph_agentd.control.__main__ import main
from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess
from support.source import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = "aleph-agentctl"
INSTEAD = {
    "events": "events --no-follow",
    "top": "top --json",
    "create NAME": "create NAME --dry-run",
    "report --html FILE": "report --html PAGE",
    "ssh NAME": "ssh NAME --json",
    "run NAME -- uname -a": "run NAME -- true",
    "install": "install --dry-run",
    "key new [FILE]": "key show",
    "destroy NAME": "destroy NAME --yes",
    "panic": "panic --yes",
}
"""What goes on for ever, asks on a terminal, or would change this account: its form for programs."""
ONLY_PARSED = {
    "notify": "goes on for ever; tests/unit/control/test_notify.py",
    'notify --command "tee -a /tmp/notices"': "the same",
    "passphrase set": "reads a terminal; tests/e2e/test_approvals.py",
    "approve ID": "asks for the passphrase on a terminal; tests/e2e/test_approvals.py",
    "unfreeze": "the same; tests/e2e/test_freeze_and_panic.py",
    "orphans adopt HASH": "the same; tests/e2e/test_recovery.py",
}
"""Only their `--help` is asked for: why, and what runs them."""
MAY_FAIL = {"doctor", "orphans destroy HASH", "deny ID"}
"""There is no such request or orphan here, and a container is no healthy machine: they say so, with exit code 1."""


def commands() -> list[str]:
    """Every command of our owner in a shell block, once, in the order in which they are read."""
    found: dict[str, None] = {}
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.splitlines():
                command = re.split(r"\s+#", line)[0].strip()
                if command.startswith(f"{PROGRAM} "):
                    found[command.removeprefix(f"{PROGRAM} ")] = None
    return list(found)


@pytest.fixture(scope="module")
def rented(network: DevnetProcess) -> Iterator[DaemonProcess]:
    """A daemon with a VM called `box`."""
    with DaemonProcess(network) as daemon:
        asyncio.run(daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1}))
        asyncio.run(daemon.call("aleph_wait_vm", {"item_hash": "box"}))
        yield daemon


def test_every_command_does_what_the_page_says(
    rented: DaemonProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """None is a mistake of usage, none finds no daemon, and nothing is left when the page's panic is done."""
    for name, value in rented.environment.items():
        monkeypatch.setenv(name, value)
    values = {"NAME": "box", "HOURS": "0.5", "ID": "ap-0123456789", "HASH": "ab" * 32}
    values |= {name: str(rented.folder / name.lower()) for name in ("FILE", "PAGE", "DIR")}
    (rented.folder / "dir").mkdir()
    asked = commands()
    assert len(asked) > 25
    for command in sorted(asked, key=_ends_everything):
        words = shlex.split(INSTEAD.get(command, command))
        words += ["--help"] if command in ONLY_PARSED else []
        code = main([values.get(word, word) for word in words])
        said = capsys.readouterr()
        allowed = {0, 1} if command in MAY_FAIL else {0}
        assert code in allowed, (command, code, said.out[-500:], said.err[-500:])
    assert rented.leaves_nothing()


async def test_the_network_of_the_readme_is_one_that_a_daemon_runs_on() -> None:
    """The block as it stands, in a shell and with a home of its own; but for the port, which others may have."""
    [block] = re.findall(r"```sh\n(aleph-devnet run .*?)```", PAGES[0].read_text(), re.DOTALL)
    with tempfile.TemporaryDirectory(prefix="readme-") as folder:
        script = block.replace("/tmp/devnet", f"{folder}/net").replace("run --dir", "run --port 0 --dir")
        env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": folder,
            "ALEPH_AGENT_RUNTIME_DIR": f"{folder}/run",
        }
        with (Path(folder) / "said").open("w+") as said:
            shell = subprocess.Popen(
                ["sh", "-c", script], env=env, stdout=said, stderr=said, cwd=folder, start_new_session=True
            )
            try:
                answer = await eventually(lambda: _status(env, folder), "the daemon of the block to answer")
            finally:
                os.killpg(shell.pid, signal.SIGTERM)
                shell.wait(30)
                await eventually(lambda: _is_over(shell.pid), "daemon and network to end")
            said.seek(0)
            assert re.search(r"^network +http://127\.0\.0\.1:\d+$", answer, re.MULTILINE), said.read()


def _is_over(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def _status(env: dict[str, str], folder: str) -> str:
    done = subprocess.run(
        [PROGRAM, "status"], env=env, cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout


def _ends_everything(command: str) -> int:
    return ["destroy NAME", "freeze", "panic"].index(end) + 1 if (end := _end(command)) else 0


def _end(command: str) -> str:
    return next((end for end in ("destroy NAME", "freeze", "panic") if command.startswith(end)), "")


def test_what_is_excused_is_on_a_page() -> None:
    """An excuse for nothing would hide the next command of that name."""
    assert set(INSTEAD) | set(ONLY_PARSED) | MAY_FAIL <= set(commands())
