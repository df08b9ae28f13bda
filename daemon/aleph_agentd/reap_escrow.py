"""`aleph-agentd reap-escrow`: the dead-man's switch as a program of its own, joined from its few parts."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TextIO

from .adapters import escrow_dir
from .adapters.aleph.keyless import open_keyless
from .domain.clock import SystemClock
from .services.escrow_reaper import EscrowReaper

DONE, FAILED = 0, 1


def reap(directory: Path) -> int:
    """Look at every file once and say what became of it; 0 when all that is due is confirmed."""
    try:
        return asyncio.run(_reap(directory))
    except OSError as error:
        _say(f"aleph-agentd: {directory}: {error.strerror or error}", sys.stderr)
        return FAILED


async def _reap(directory: Path) -> int:
    os.umask(0o077)
    names = await asyncio.to_thread(escrow_dir.names, directory)
    left = 0
    async with open_keyless() as messages:
        reaper = EscrowReaper(SystemClock(), messages)
        async for outcome in reaper.run(names, lambda name: escrow_dir.read(directory / name)):
            left += not outcome.confirmed
            _say(f"{outcome.name}: {outcome.text}")
    if not names:
        _say(f"{directory}: no kill switches")
    return FAILED if left else DONE


def _say(line: str, stream: TextIO | None = None) -> None:
    """One line; names of files and words of the network must not steer a terminal."""
    stream = stream or sys.stdout
    text = line.encode("utf-8", "replace").decode()
    stream.write("".join(c if c.isprintable() else "?" for c in text) + "\n")
    stream.flush()
