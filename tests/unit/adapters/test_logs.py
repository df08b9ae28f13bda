"""Log lines: for the journal with a priority each, for a terminal with the time."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import logging
from aleph_agentd.adapters import logs
logs.set_up()
logging.getLogger("aleph_agentd.x").error("one\\ntwo")
"""


def said(journal_stream: str | None, log: Path) -> list[str]:
    """What a process writes to its standard error, a file that stands for the journal's stream."""
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    with log.open("w") as stream:
        if journal_stream is not None:
            facts = os.fstat(stream.fileno())
            environment["JOURNAL_STREAM"] = journal_stream.format(dev=facts.st_dev, ino=facts.st_ino)
        subprocess.run([sys.executable, "-c", SCRIPT], stderr=stream, env=environment, check=True)
    return log.read_text().splitlines()


def test_in_the_journal_each_line_has_its_priority(tmp_path: Path) -> None:
    """`journalctl -p err` finds it, and a second line is no less an error."""
    assert said("{dev}:{ino}", tmp_path / "log") == ["<3>aleph_agentd.x: one", "<3>two"]


def test_elsewhere_it_is_plain_also_when_the_variable_was_inherited(tmp_path: Path) -> None:
    """A daemon that a shell under systemd starts in a terminal is read by people."""
    for stream in (None, "", "1:2", "nonsense"):
        first, second = said(stream, tmp_path / "log")
        assert first.endswith("ERROR   aleph_agentd.x: one") and first[0].isdigit()
        assert second == "two"
