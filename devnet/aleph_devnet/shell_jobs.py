"""`sh -c`, and what aleph-agentd's own scripts do in a guest without a real shell: files, and jobs that survive."""

import asyncio
from dataclasses import dataclass, field

from aleph_devnet.shell import MAX_OUTPUT, RUN_SECONDS, ExitError, Io, ReadStdin, Shell, UsageError, to_text
from aleph_devnet.shell_commands import number, program
from aleph_devnet.shell_looks import look, save

MOST_JOBS = 64
PAGE = 4096
_AGENT, _PUT, _LOOK, _SAVE = "aleph-agent", "aleph-put", "aleph-look", "aleph-save"


@dataclass
class Job:
    """A command that runs, or has run, in the background."""

    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)
    code: int | None = None
    task: asyncio.Task[None] | None = None

    async def write(self, out: bytes, err: bytes) -> None:
        """Keep what it prints."""
        self.out += out[: MAX_OUTPUT - len(self.out)]
        self.err += err[: MAX_OUTPUT - len(self.err)]

    async def run(self, shell: Shell, line: str) -> None:
        """To its end."""
        ended = 143  # unless it ends by itself
        try:
            ended = await _status(shell, line, _nothing, self)
        finally:
            self.code = ended


@program("sh", "bash")
async def sh(io: Io, arguments: list[str]) -> int:
    """Run a line; aleph-agentd's own scripts are known by their names and never read."""
    if arguments[:1] != ["-c"] or len(arguments) < 2:
        raise UsageError("only -c is known")
    if arguments[2:3] == [_AGENT]:
        return await _serve(io, arguments[3:])
    if arguments[2:3] == [_PUT]:
        return await _put(io, arguments[3:])
    if arguments[2:3] == [_LOOK]:
        return look(io, arguments[3:], sum(job.code is None for job in io.shell.jobs.values()))
    if arguments[2:3] == [_SAVE]:
        return save(io, arguments[3:])
    job = Job()
    status = await _status(_fresh(io.shell), arguments[1], io.read, job)
    io.print(bytes(job.out))
    io.err += job.err
    return status


async def _serve(io: Io, words: list[str]) -> int:
    if len(words) != 6:
        raise UsageError("six words")
    nonce, verb, name = words[:3]
    tenths, offset = number(words[3]), int(number(words[4]))
    line, jobs = (await io.read()).rstrip(b"\n"), io.shell.jobs
    if verb == "start" and name not in jobs and len(line) != number(words[5]):
        return io.fail("not begun: only a part of it came")
    if verb == "start" and name not in jobs and len(jobs) < MOST_JOBS:
        jobs[name] = job = Job()
        job.task = asyncio.create_task(job.run(_fresh(io.shell), to_text(line)))
    found = jobs.get(name)
    if found is None or found.task is None:
        io.print(f"{nonce} none - 0 0\n")
        return 0
    if verb == "stop":
        found.task.cancel()
        await asyncio.wait([found.task])
    elif tenths > 0:
        await asyncio.wait([found.task], timeout=min(tenths / 10, RUN_SECONDS - 5))
    state, code = ("running", "-") if found.code is None else ("done", found.code)
    io.print(f"{nonce} {state} {code} {len(found.out)} {len(found.err)}\n")
    io.print(_part(bytes(found.out), offset) + _part(bytes(found.err), offset))
    return 0


async def _put(io: Io, words: list[str]) -> int:
    if len(words) != 3:
        raise UsageError("three words")
    content = await io.read()
    if len(content) != number(words[1]):
        return io.fail("not written: only a part of it came")
    io.shell.files.write(io.path(words[0]), content)
    return 0


def _part(data: bytes, offset: int) -> bytes:
    if offset >= 0:
        return data[offset : offset + PAGE]
    return data if len(data) <= PAGE else data[: PAGE // 2] + data[-PAGE // 2 :]


def _fresh(shell: Shell) -> Shell:
    return Shell(shell.files, shell.hostname, shell.jobs)


async def _status(shell: Shell, line: str, read: ReadStdin, job: Job) -> int:
    try:
        return await shell.run(line, read, job.write)
    except ExitError as leaving:
        return leaving.status


async def _nothing() -> bytes:
    return b""
