"""A guest's shell: runs parsed command lines on an in-memory file system, within fixed bounds."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aleph_devnet.shell_files import MAX_BYTES, Files, FilesError
from aleph_devnet.shell_parse import Command, LineError, Pipeline, expand, parse

if TYPE_CHECKING:
    from aleph_devnet.shell_jobs import Job

MAX_OUTPUT = 512 * 1024
MAX_VARIABLES = 100
RUN_SECONDS = 30.0

ReadStdin = Callable[[], Awaitable[bytes]]
Write = Callable[[bytes, bytes], Awaitable[None]]
Program = Callable[["Io", list[str]], Awaitable[int]]
PROGRAMS: dict[str, Program] = {}


class ExitError(Exception):
    """The line asked the shell to end."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class OutputLimitError(Exception):
    """The line printed more than it may."""


class UsageError(Exception):
    """A program was called with arguments that it does not take."""


def to_bytes(text: str) -> bytes:
    """What was typed, byte for byte, whatever its encoding was."""
    return text.encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    """The inverse of `to_bytes`."""
    return data.decode("utf-8", "surrogateescape")


@dataclass
class Io:
    """What one running program sees: its shell, its input, and its bounded output."""

    shell: "Shell"
    read: ReadStdin
    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)
    limit: int = MAX_OUTPUT

    def print(self, data: bytes | str) -> None:
        """Write to standard output."""
        self.out += to_bytes(data) if isinstance(data, str) else data
        if len(self.out) > self.limit:
            raise OutputLimitError

    def fail(self, text: str) -> int:
        """Write a line to standard error and give the status of a failure."""
        self.err += to_bytes(text[:2000] + "\n")
        return 1

    def path(self, name: str) -> str:
        """The absolute path of a name given as an argument."""
        return self.shell.files.resolve(self.shell.cwd, name)

    async def content(self, names: list[str]) -> bytes:
        """The joined content of the named files, or standard input when there are none."""
        if not names:
            return await self.read()
        joined = bytearray()
        for name in names:
            try:
                joined += await self.read() if name == "-" else self.shell.files.read(self.path(name))
            except FilesError as problem:
                raise FilesError(f"{name}: {problem}") from None
            if len(joined) > MAX_BYTES:
                raise OutputLimitError
        return bytes(joined)


async def _no_input() -> bytes:
    return b""


class Shell:
    """One login: a working directory and variables of its own, on the guest's shared files."""

    def __init__(self, files: Files, hostname: str, jobs: dict[str, "Job"] | None = None) -> None:
        self.files = files
        self.jobs = {} if jobs is None else jobs
        self.hostname = hostname
        self.cwd = "/root"
        self.status = 0
        self.variables = {"HOME": "/root", "USER": "root", "LOGNAME": "root", "PATH": "/usr/bin:/bin"}
        self.variables |= {"PWD": "/root", "SHELL": "/bin/sh", "HOSTNAME": hostname}

    async def run(self, line: str, read: ReadStdin, write: Write) -> int:
        """Run one line within the time limit; raises ExitError when it says `exit`."""
        try:
            async with asyncio.timeout(RUN_SECONDS):
                for pipeline in parse(line):
                    if self._wanted(pipeline):
                        self.status = await self._run_pipeline(pipeline, read, write)
        except LineError as problem:
            self.status = 2
            await write(b"", to_bytes(f"sh: {problem}\n"))
        except TimeoutError:
            self.status = 124
            await write(b"", b"sh: time limit exceeded\n")
        except OutputLimitError:
            self.status = 141
            await write(b"", b"sh: output limit exceeded\n")
        return self.status

    def assign(self, name: str, value: str) -> None:
        """Set a variable."""
        if name not in self.variables and len(self.variables) >= MAX_VARIABLES:
            raise UsageError("too many variables")
        self.variables[name] = value

    def _wanted(self, pipeline: Pipeline) -> bool:
        return {"&&": self.status == 0, "||": self.status != 0}.get(pipeline.joined_by, True)

    async def _run_pipeline(self, pipeline: Pipeline, read: ReadStdin, write: Write) -> int:
        status = 0
        last = len(pipeline.commands) - 1
        for index, command in enumerate(pipeline.commands):
            io = Io(self, read)
            try:
                status = await self._run_command(command, io)
            except ExitError as leaving:
                if last == 0:
                    raise
                status = leaving.status  # in a pipe, `exit` ends only its own part
            finally:
                if index == last or io.err:
                    await write(bytes(io.out) if index == last else b"", bytes(io.err))
            read = _given(bytes(io.out))
            # One line may hold hundreds of commands; the other guests share this loop.
            await asyncio.sleep(0)
        return status

    async def _run_command(self, command: Command, io: Io) -> int:
        variables = {**self.variables, "?": str(self.status), "$": "1"}
        arguments = [text for word in command.words if (text := expand(word, variables)) is not None]
        sinks: list[tuple[str, str]] = []
        try:
            self._redirect(command, variables, io, sinks)
            status = await self._run_program(arguments, io)
        except FilesError as problem:
            status = io.fail(f"{arguments[0] if arguments else 'sh'}: {problem}")
        except UsageError as problem:
            status = 2 * io.fail(f"{arguments[0] if arguments else 'sh'}: {problem}")
        try:
            self._flush(sinks, io)
        except FilesError as problem:
            status = io.fail(f"sh: {problem}")
        return status

    async def _run_program(self, arguments: list[str], io: Io) -> int:
        while arguments and arguments[0].partition("=")[0].isidentifier() and "=" in arguments[0]:
            name, _, value = arguments.pop(0).partition("=")
            self.assign(name, value)
        if not arguments:
            return 0
        program = PROGRAMS.get(arguments[0].removeprefix("/usr").removeprefix("/bin/"))
        if program is None:
            io.fail(f"sh: {arguments[0]}: command not found")
            return 127
        return await program(io, arguments[1:])

    def _redirect(
        self, command: Command, variables: dict[str, str], io: Io, sinks: list[tuple[str, str]]
    ) -> None:
        for operator, word in command.redirects:
            if operator == "2>&1":
                sinks.append((operator, ""))
                continue
            path = io.path(expand(word, variables) or "")
            if operator == "<":
                io.read = _given(self.files.read(path))
                continue
            self.files.write(path, b"", append=operator.endswith(">>"))
            sinks.append((operator, path))
            io.limit = MAX_BYTES if operator.startswith(">") else io.limit

    def _flush(self, sinks: list[tuple[str, str]], io: Io) -> None:
        # `2>&1` joins the streams wherever it stands: programs here print in one piece anyway.
        if ("2>&1", "") in sinks:
            io.out += io.err
            io.err.clear()
        for operator, path in sinks:
            if operator != "2>&1":
                stream = io.err if operator.startswith("2") else io.out
                data = bytes(stream)
                stream.clear()
                self.files.write(path, data, append=True)


def _given(data: bytes) -> ReadStdin:
    async def read() -> bytes:
        return data

    return read if data else _no_input
