"""What runs "inside" a devnet VM: an SSH server that lets in the VM's keys, with a sandboxed shell."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from aleph_devnet import shell_commands, shell_file_commands, shell_jobs
from aleph_devnet.sandbox import CHUNK, Sandbox
from aleph_devnet.shell import MAX_OUTPUT, ExitError, Shell, to_bytes, to_text
from aleph_devnet.shell_files import MAX_BYTES, Files

if TYPE_CHECKING:
    import asyncssh

MAX_CONNECTIONS = 32
MAX_SESSIONS = 16
IDLE_SECONDS = 600.0
EXACT = "latin-1"
"""Each byte is one character: what a command without a terminal reads and prints."""
LOADED = (shell_commands, shell_file_commands, shell_jobs)  # imported for the programs that they register


class Guest:
    """One VM's SSH server and file system; the file system lives as long as this object."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        authorized_keys: Sequence[str],
        hostname: str,
        os_image: str = "",
        host_key: str = "",
        sandbox: Sandbox | None = None,
    ) -> None:
        self._address = (host, port)
        self._key_lines = tuple(authorized_keys)
        self._hostname = (
            "".join(c for c in hostname if c.isascii() and (c.isalnum() or c in "-."))[:63] or "guest"
        )
        self._files = _fresh_files(self._hostname, os_image)
        self._jobs: dict[str, shell_jobs.Job] = {}
        self._host_key, self._sandbox = host_key, sandbox
        self._server: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._sessions = 0

    async def start(self) -> int:
        """Listen, and return the port."""
        # Imported here: asyncssh costs a third of a second that only a network with VMs has to pay.
        import asyncssh

        if self._sandbox is not None:
            await self._sandbox.start()
        keys = {key.public_data for line in self._key_lines if (key := _key(line))}
        host, port = self._address
        self._server = await asyncssh.create_server(
            lambda: _door(keys, self._connections),
            host,
            port,
            server_host_keys=[asyncssh.import_private_key(self._host_key or new_host_key())],
            process_factory=self._begin,
            encoding="utf-8",
            errors="surrogateescape",
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            agent_forwarding=False,
            x11_forwarding=False,
            login_timeout=30,
            keepalive_interval=60,
        )
        return self._server.get_port()

    async def stop(self) -> None:
        """Close the port and every connection; may be called again."""
        for job in self._jobs.values():
            if job.task is not None:
                job.task.cancel()
        if self._sandbox is not None:
            await self._sandbox.stop()
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in list(self._connections):
            connection.abort()
        await server.wait_closed()

    def _begin(self, process: "asyncssh.SSHServerProcess[str]") -> Coroutine[Any, Any, None]:
        if process.command is not None or self._sandbox is not None:
            # Before anything is read: UTF-8 would lose the half of a character that ends a file.
            process.channel.set_encoding(EXACT)
        return self._serve(process)

    async def _serve(self, process: "asyncssh.SSHServerProcess[str]") -> None:
        import asyncssh

        if self._sessions >= MAX_SESSIONS:
            process.stderr.write("too many sessions\n")
            process.exit(1)
            return
        self._sessions += 1
        try:
            if self._sandbox is not None:
                process.exit(await _in_sandbox(process, self._sandbox))
            else:
                process.exit(await _Login(process, Shell(self._files, self._hostname, self._jobs)).run())
        except (OSError, asyncssh.Error):
            process.close()  # the client went away
        finally:
            self._sessions -= 1


class _Login:
    """One SSH session: a command, a script on standard input, or lines typed on a terminal."""

    def __init__(self, process: "asyncssh.SSHServerProcess[str]", shell: Shell) -> None:
        self._process = process
        self._shell = shell
        self._exact = process.command is not None
        self._printed = self._complained = 0

    async def run(self) -> int:
        """Serve the session; returns its exit status."""
        try:
            if self._process.command is not None:
                return await self._shell.run(self._process.command, self._read_all, self._write)
            return await self._read_lines()
        except ExitError as leaving:
            return leaving.status

    async def _read_lines(self) -> int:
        terminal = self._process.term_type is not None
        while True:
            if terminal:
                self._process.stdout.write(f"root@{self._shell.hostname}:{self._shell.cwd}# ")
            line = await self._read_line()
            if line is None:
                return self._shell.status
            if terminal:
                self._printed = self._complained = 0
            await self._shell.run(line, self._read_all, self._write)

    async def _read_line(self) -> str | None:
        import asyncssh

        try:
            line = await asyncio.wait_for(self._process.stdin.readline(), IDLE_SECONDS)
        except (asyncssh.TerminalSizeChanged, asyncssh.SignalReceived, asyncssh.BreakReceived):
            return ""
        except TimeoutError:
            return None
        return line or None

    async def _read_all(self) -> bytes:
        import asyncssh

        taken = bytearray()
        while len(taken) <= MAX_BYTES:
            try:
                text = await self._process.stdin.read(64 * 1024)
            except (asyncssh.TerminalSizeChanged, asyncssh.SignalReceived, asyncssh.BreakReceived):
                continue
            if not text:
                break
            taken += text.encode(EXACT) if self._exact else to_bytes(text)
        return bytes(taken)

    async def _write(self, out: bytes, err: bytes) -> None:
        out, err = out[: MAX_OUTPUT - self._printed], err[: MAX_OUTPUT - self._complained]
        self._printed += len(out)
        self._complained += len(err)
        self._process.stdout.write(out.decode(EXACT) if self._exact else to_text(out))
        self._process.stderr.write(err.decode(EXACT) if self._exact else to_text(err))
        await self._process.stdout.drain()


def new_host_key() -> str:
    """What a VM shows, from its first boot on."""
    import asyncssh

    return asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()


async def _in_sandbox(process: "asyncssh.SSHServerProcess[str]", sandbox: Sandbox) -> int:
    """A command, or a shell, in what is a machine of its own; it is left when the client hangs up."""
    import asyncssh

    async def read() -> bytes:
        while True:
            try:
                return (await process.stdin.read(CHUNK)).encode(EXACT)
            except (asyncssh.TerminalSizeChanged, asyncssh.SignalReceived, asyncssh.BreakReceived):
                continue

    async def write(out: bytes, err: bytes) -> None:
        process.stdout.write(out.decode(EXACT))
        process.stderr.write(err.decode(EXACT))
        await (process.stdout if out else process.stderr).drain()

    command = process.command or ("exec sh -i" if process.term_type else "exec sh")
    running = asyncio.create_task(sandbox.run(command.encode("utf-8", "surrogateescape"), read, write))
    hung_up = asyncio.create_task(process.channel.wait_closed())
    try:
        await asyncio.wait([running, hung_up], return_when=asyncio.FIRST_COMPLETED)
        return await running if running.done() else 255
    finally:
        running.cancel()
        hung_up.cancel()
        await asyncio.wait([running, hung_up])


def _door(keys: set[bytes], connections: "set[asyncssh.SSHServerConnection]") -> "asyncssh.SSHServer":
    """A connection's gatekeeper: root, with one of the keys, and nobody else."""
    import asyncssh

    class Door(asyncssh.SSHServer):
        def connection_made(self, conn: "asyncssh.SSHServerConnection") -> None:
            self._connection = conn
            if len(connections) >= MAX_CONNECTIONS:
                conn.abort()
            connections.add(conn)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self._connection)

        def begin_auth(self, username: str) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: "asyncssh.SSHKey") -> bool:
            return username == "root" and key.public_data in keys

    return Door()


def _key(line: str) -> "asyncssh.SSHKey | None":
    import asyncssh

    try:
        return asyncssh.import_public_key(line)
    except (asyncssh.KeyImportError, ValueError):
        return None


def _fresh_files(hostname: str, os_image: str) -> Files:
    files = Files()
    for path in ("/root", "/tmp", "/etc", "/home", "/var", "/dev"):  # noqa: S108 — names in memory only
        files.mkdir(path)
    files.write("/etc/hostname", hostname.encode() + b"\n")
    image = "".join(c for c in os_image if c.isprintable() and c not in '"$`\\')[:100] or "linux"
    files.write("/etc/os-release", f'NAME="Aleph devnet"\nID=devnet\nPRETTY_NAME="{image}"\n'.encode())
    return files
