"""A note on the owner's screen, through a real process in the notifier's place."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from aleph_agentd.control import desktop
from aleph_agentd.control.desktop import Desktop

RECORDER = """#!/bin/sh
printf '%s\\n' "$@" > "$HOME/told"
env | sort >> "$HOME/told"
"""


@pytest.fixture
def notifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH whose first notifier writes down what it is told."""
    program = tmp_path / "notify-send"
    program.write_text(RECORDER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return program


async def test_what_an_agent_wrote_is_neither_an_option_nor_markup_nor_a_second_line(notifier: Path) -> None:
    """The names of VMs are theirs."""
    await Desktop("aleph-agentd").tell("--urgency=low <b>x</b>", "one\ntwo \x1b[31m" + "x" * 1000)
    told = (notifier.parent / "told").read_text().splitlines()
    assert told[:5] == ["--app-name", "aleph-agentd", "--urgency", "critical", "--"]
    assert told[5] == "--urgency=low &lt;b&gt;x&lt;/b&gt;"
    assert told[6] == ("one two  [31m" + "x" * 1000)[:300]


async def test_the_notifier_gets_nothing_of_the_daemon_s_environment(
    notifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what finds the owner's screen."""
    monkeypatch.setenv("ALEPH_AGENT_PRIVATE_KEY_PATH", "/key")
    await Desktop("aleph-agentd").tell("a", "b")
    assert "ALEPH" not in (notifier.parent / "told").read_text()


async def test_no_notifier_is_no_trouble(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor one that cannot be started: only whoever debugs reads of it."""
    caplog.set_level(logging.DEBUG, desktop.log.name)
    monkeypatch.setenv("PATH", str(tmp_path))
    await Desktop("aleph-agentd").tell("a", "b")
    assert caplog.records == []
    (tmp_path / "notify-send").write_bytes(b"\x7fELF")
    (tmp_path / "notify-send").chmod(0o755)
    await Desktop("aleph-agentd").tell("a", "b")
    [told] = caplog.records
    assert (told.levelname, "cannot be started" in told.getMessage()) == ("DEBUG", True)


async def test_one_that_hangs_is_ended(notifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is left behind."""
    monkeypatch.setattr(desktop, "WAIT_S", 0.2)
    notifier.write_text('#!/bin/sh\necho $$ > "$HOME/pid"\nexec sleep 600\n')
    await asyncio.wait_for(Desktop("aleph-agentd").tell("a", "b"), 30)
    with pytest.raises(ProcessLookupError):
        os.kill(int((notifier.parent / "pid").read_text()), 0)
