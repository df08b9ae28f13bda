"""A subprocess of the demo: its own process group, its output in a file, and no way to outlive its starter."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aleph_agentd.demo.failure import DemoFailed

STOP_S = 5.0
LOG_LINES = 8


class Program:
    """One running program."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.returncode is None

    async def first_line(self, timeout_s: float) -> str:
        """The line with which it says that it is ready."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise DemoFailed(f"{self.name} was not ready within {timeout_s:g} s{self.last_words()}") from None
        if not line:
            raise DemoFailed(f"{self.name} ended before it was ready{self.last_words()}")
        return line.decode(errors="replace")

    def last_words(self) -> str:
        """The end of its log, to follow a sentence."""
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return f"\n  the end of {self.name}'s log:\n    " + "\n    ".join(lines) if lines else ""

    async def stop(self) -> None:
        """End it, and whatever it started."""
        if self.alive:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
        self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


@asynccontextmanager
async def running(
    name: str, command: Sequence[str], env: Mapping[str, str], folder: Path
) -> AsyncIterator[Program]:
    """Start a program; it is stopped when the block ends, however it ends."""
    log = folder / f"{name}.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=env,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    program = Program(name, process, log)
    try:
        yield program
    finally:
        await program.stop()
