"""A guest whose commands really run: in a bubblewrap of its own, without network, with a home of its own.

The rest of the machine is /usr, read-only. It ends with the guest; nothing in it can outlive the devnet.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

SOURCE = Path(__file__).with_name("sandbox_inside.py")
CHUNK = 64 * 1024
TRIAL_S = 20.0
_PYTHON, _TOOLS = "/opt/devnet-python", "/opt/devnet-tools"
"""Both have a `bin` that is last on the guest's PATH."""
_ROOT_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SEEN_OF_ETC = ("alternatives", "ld.so.cache", "ssl/certs", "passwd", "group")

Read = Callable[[], Awaitable[bytes]]
Write = Callable[[bytes, bytes], Awaitable[None]]


@cache
def trouble() -> str:
    """Why there can be no sandbox on this machine; empty when there can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    try:
        tried = subprocess.run(
            [*_bwrap(None, "trial"), "/bin/sh", "-c", "exit 7"],
            capture_output=True,
            timeout=TRIAL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run here: {type(error).__name__}"
    if tried.returncode == 7:
        return ""
    words = tried.stderr.decode(errors="replace").strip().splitlines()
    return f"bubblewrap may not run here: {words[-1] if words else tried.returncode}"


class Sandbox:
    """One VM from boot to halt. Its home is a directory, which outlives it; `tools` is one that it may read."""

    def __init__(self, home: Path, hostname: str, tools: Path | None = None) -> None:
        self._home, self._hostname, self._tools = home, hostname, tools
        self._process: asyncio.subprocess.Process | None = None
        self._door: socket.socket | None = None

    async def start(self) -> None:
        """Boot it."""
        self._home.mkdir(parents=True, exist_ok=True)
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        python = [f"{_PYTHON}/bin/{_interpreter().name}", "-I", "-S", "-c", SOURCE.read_text()]
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(*_bwrap(self._home, self._hostname, self._tools), *python, str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )

    async def stop(self) -> None:
        """Power off: everything in it is killed with its first process."""
        if self._door is not None:
            self._door.close()
            self._door = None
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def run(self, command: bytes, read: Read, write: Write) -> int:
        """Run a command to its end; `read` gives its input, and b"" at last. Raises OSError when the VM is off."""
        if self._door is None:
            raise BrokenPipeError("the VM is off")
        pipes = [os.pipe() for _ in range(4)]  # stdin, stdout, stderr, and the exit code
        ours = [pipes[0][1], *(pipe[0] for pipe in pipes[1:])]
        theirs = [pipes[0][0], *(pipe[1] for pipe in pipes[1:])]
        try:
            socket.send_fds(self._door, [command or b":"], theirs)
        except OSError:
            _close(ours)
            raise
        finally:
            _close(theirs)
        return await _attend(ours, read, write)


async def _attend(ours: list[int], read: Read, write: Write) -> int:
    loop, readers, transports = asyncio.get_running_loop(), [], []
    for fd in ours[1:]:
        readers.append(asyncio.StreamReader())
        protocol = asyncio.StreamReaderProtocol(readers[-1])
        made, _ = await loop.connect_read_pipe(partial(_same, protocol), os.fdopen(fd, "rb", 0))
        transports.append(made)
    out, err, told = readers
    feeding = asyncio.create_task(_feed(ours[0], read))
    try:
        await asyncio.gather(_pump(out, write, first=True), _pump(err, write, first=False))
        return int(await told.read() or b"255")
    finally:
        feeding.cancel()
        await asyncio.wait([feeding])
        for transport in transports:
            transport.close()


async def _feed(fd: int, read: Read) -> None:
    loop = asyncio.get_running_loop()
    flow = asyncio.streams.FlowControlMixin
    made, protocol = await loop.connect_write_pipe(flow, os.fdopen(fd, "wb", 0))
    writer = asyncio.StreamWriter(made, protocol, None, loop)
    try:
        while chunk := await read():
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass  # the command does not read, or the client went away: its output tells
    finally:
        writer.close()


async def _pump(reader: asyncio.StreamReader, write: Write, *, first: bool) -> None:
    while chunk := await reader.read(CHUNK):
        await write(chunk if first else b"", b"" if first else chunk)


def _same(protocol: asyncio.StreamReaderProtocol) -> asyncio.StreamReaderProtocol:
    return protocol


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _interpreter() -> Path:
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def _bwrap(home: Path | None, hostname: str, tools: Path | None = None) -> list[str]:
    """The command in front of what runs in there. Root there is nobody here, and has no capability."""
    words = ["bwrap", "--unshare-all", "--unshare-user", "--uid", "0", "--gid", "0", "--cap-drop", "ALL"]
    words += ["--die-with-parent", "--new-session", "--clearenv", "--hostname", hostname]
    words += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
    for name in _ROOT_LINKS:
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), f"/{name}"]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for name in _SEEN_OF_ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    words += ["--ro-bind", str(_interpreter().parent.parent), _PYTHON]
    words += ["--ro-bind", str(tools), _TOOLS] if tools else []
    for name in ("/tmp", "/run", "/var"):  # noqa: S108 — in there
        words += ["--tmpfs", name]
    return [*words, *(("--bind", str(home), "/root") if home else ("--tmpfs", "/root"))]
