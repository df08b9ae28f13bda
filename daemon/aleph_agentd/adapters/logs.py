"""Log lines: with the journal's priority under systemd, plain on a terminal; bounded either way."""

import logging
import os
import sys
from typing import TextIO

_LONGEST = 2000
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _Bounded(logging.Formatter):
    def __init__(self, *, journal: bool) -> None:
        super().__init__(
            "%(name)s: %(message)s" if journal else "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
        )
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if len(text) > _LONGEST:
            text = text[:_LONGEST] + " … (cut)"
        # What comes from the network or an agent must not forge lines of its own.
        lines = [line.encode("utf-8", "backslashreplace").decode() for line in text.splitlines() or [""]]
        prefix = f"<{_PRIORITY.get(record.levelno, 6)}>" if self._journal else ""
        return "\n".join(prefix + "".join(c if c.isprintable() else "�" for c in line) for line in lines)


def set_up(*, verbose: bool = False) -> None:
    """Log to standard error. Third parties log from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Bounded(journal=_is_journal(sys.stderr)))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("aleph_agentd").setLevel(logging.DEBUG if verbose else logging.INFO)
    # It tells the whole message on each error, with what its node said.
    logging.getLogger("aleph.sdk").setLevel(logging.CRITICAL)
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)


def _is_journal(stream: TextIO) -> bool:
    """Whether this stream is the one that the journal reads: its children may inherit the variable, and log elsewhere."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        facts = os.fstat(stream.fileno())
    except (OSError, ValueError):  # a stream without a descriptor, as tests have
        return False
    return (device, inode) == (str(facts.st_dev), str(facts.st_ino))
