"""A devnet guest: who gets in, what its shell does, and what a hostile client cannot do to it."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from aleph_devnet.guest import Guest
from aleph_devnet.shell import MAX_OUTPUT
from aleph_devnet.shell_files import MAX_BYTES

KEY = asyncssh.generate_private_key("ssh-ed25519")
PUBLIC = KEY.export_public_key().decode()


@pytest.fixture
async def guest() -> AsyncIterator[tuple[Guest, int]]:
    """A guest that lets in KEY; a broken key line beside it must not matter."""
    made = Guest(host="127.0.0.1", port=0, authorized_keys=["not a key", PUBLIC], hostname="vm-1")
    yield made, await made.start()
    await made.stop()


@pytest.fixture
async def login(guest: tuple[Guest, int]) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection of an invited client."""
    async with connect(guest[1]) as connection:
        yield connection


def connect(port: int, key: asyncssh.SSHKey = KEY, **options: Any) -> Any:
    return asyncssh.connect(
        "127.0.0.1", port, known_hosts=None, client_keys=[key], config=None, **{"username": "root", **options}
    )


async def run(login: asyncssh.SSHClientConnection, line: str, **options: Any) -> tuple[int | None, str, str]:
    result = await login.run(line, **options)
    return result.exit_status, str(result.stdout), str(result.stderr)


async def test_an_invited_key_can_run_a_command(login: asyncssh.SSHClientConnection) -> None:
    """The command that every demo starts with."""
    status, out, _ = await run(login, "uname -a")
    assert status == 0
    assert out.startswith("Linux vm-1 ")


@pytest.mark.parametrize(
    "options", [{"key": asyncssh.generate_private_key("ssh-ed25519")}, {"username": "admin"}]
)
async def test_nobody_else_gets_in(guest: tuple[Guest, int], options: dict[str, Any]) -> None:
    """Another key, or another user with the right key, is refused."""
    with pytest.raises(asyncssh.PermissionDenied):
        async with connect(guest[1], **options):
            pass


@pytest.mark.parametrize(
    ("line", "status", "out"),
    [
        ("echo 'a  b' \"c $HOME\" d", 0, "a  b c /root d\n"),
        ("export X=1; echo $X${X}y '$X' \"\\$X\"", 0, "11y $X $X\n"),
        ("false && echo no || echo yes; true || echo no", 0, "yes\n"),
        ("seq 3 | tail -n 1 | cat", 0, "3\n"),
        ("echo one > f; echo two >> f; wc -l < f; grep tw f", 0, "2\ntwo\n"),
        (
            "mkdir -p /a/b && cd /a/b && pwd && cp /etc/hostname h && cat ./h && mv h .. && ls /a",
            0,
            "/a/b\nvm-1\nb\nh\n",
        ),
        ("touch g && test -f g && rm g && [ ! -e g ] && echo gone", 0, "gone\n"),
        ("printf '%s-%d\\n' a 7", 0, "a-7\n"),
        ("false; echo $?", 0, "1\n"),
        ("cat missing 2>/dev/null || echo none", 0, "none\n"),
        ("echo a # comment", 0, "a\n"),
        ("exit 7; echo no", 7, ""),
        ("whoami\nid -u\nnproc", 0, "root\n0\n1\n"),
        ("  # nothing", 0, ""),
    ],
)
async def test_the_shell_understands(
    login: asyncssh.SSHClientConnection, line: str, status: int, out: str
) -> None:
    """Quotes, variables, pipes, redirections and lists, as in any shell."""
    assert await run(login, line) == (status, out, "")


@pytest.mark.parametrize(
    ("line", "status", "error"),
    [
        ("curl x", 127, "sh: curl: command not found"),
        ("echo $(id)", 2, "unexpected"),
        ("sleep 1 &", 2, "unexpected"),
        ("echo 'open", 2, "Unterminated"),
        ("echo a |", 2, "end of file unexpected"),
        ("; echo", 2, "unexpected"),
        ("cat /etc/passwd", 1, "No such file or directory"),
        ("cat ../../../../proc/self/environ", 1, "No such file or directory"),
        ("rm -r /", 1, "Is a directory"),
        ("sleep nan", 2, "number"),
        ("sleep 1e400", 2, "number"),
        ("head -n x /etc/hostname", 2, "number"),
        ("echo ${!x}", 2, "Bad substitution"),
        ("echo > " + "x" * 5000, 1, "File name too long"),
        ("true;" * 1000, 2, "too many commands"),
        ("echo " + "x" * 70_000, 2, "line too long"),
        ("A=" + "x" * 9000 + "; B=$A$A$A", 2, "word too long"),
    ],
)
async def test_what_it_does_not_do_fails_plainly(
    login: asyncssh.SSHClientConnection, line: str, status: int, error: str
) -> None:
    """A clear error and a status; the machine's own files and shell stay out of reach."""
    got, _, stderr = await run(login, line)
    assert got == status
    assert error in stderr


async def test_files_from_standard_input_are_kept_byte_for_byte(guest: tuple[Guest, int]) -> None:
    """`cat > file` takes binary data, and another login of the same guest reads it."""
    data = bytes(range(256)) * 512
    async with connect(guest[1]) as first:
        await first.run("cat > /root/data", input=data, encoding=None, check=True)
    async with connect(guest[1]) as second:
        assert (await second.run("cat < /root/data", encoding=None)).stdout == data


async def test_the_disk_has_an_end(login: asyncssh.SSHClientConnection) -> None:
    """Doubling a file stops at the bound, and removing it makes room again."""
    await login.run("cat > a", input="x" * (MAX_BYTES // 3))
    status, _, error = await run(login, "cp a b; cp a c; cp a d")
    assert (status, "No space left" in error) == (1, True)
    assert (await run(login, "rm a b c 2>/dev/null; echo ok > z; cat z"))[:2] == (0, "ok\n")
    status, _, error = await run(login, "cat > big", input="x" * (2 * MAX_BYTES))
    assert status != 0


async def test_output_has_an_end(login: asyncssh.SSHClientConnection) -> None:
    """A program that would print for ever is stopped."""
    status, out, error = await run(login, "seq 1 1000000000")
    assert status == 141
    assert len(out) <= MAX_OUTPUT
    assert "output limit" in error


async def test_run_time_has_an_end(
    login: asyncssh.SSHClientConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that would run longer than allowed is cut off with status 124."""
    monkeypatch.setattr("aleph_devnet.shell.RUN_SECONDS", 0.01)
    assert (await run(login, "sleep 20; echo no"))[:2] == (124, "")


async def test_sessions_have_an_end(
    login: asyncssh.SSHClientConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One session too many is told so, and the others go on."""
    monkeypatch.setattr("aleph_devnet.guest.MAX_SESSIONS", 1)
    async with login.create_process("cat") as waiting:
        assert "too many sessions" in (await run(login, "true"))[2]
        waiting.stdin.write("still here")
        waiting.stdin.write_eof()
        assert await waiting.stdout.read() == "still here"


async def test_an_interactive_login_is_a_line_loop(login: asyncssh.SSHClientConnection) -> None:
    """With a terminal: prompt, commands that keep their directory, exit status."""
    async with login.create_process(term_type="xterm", term_size=(80, 24)) as terminal:
        await terminal.stdout.readuntil("# ")
        terminal.change_terminal_size(100, 40)
        terminal.stdin.write("cd /tmp\npwd\nexit 3\n")
        output = await terminal.stdout.read()
        await terminal.wait()
    assert "/tmp" in str(output)
    assert terminal.exit_status == 3


async def test_a_script_on_standard_input_runs_line_by_line(login: asyncssh.SSHClientConnection) -> None:
    """Without a command and a terminal the input is a script; a broken line does not end it."""
    assert (await run(login, None, input="echo a\necho $(\necho b\n"))[:2] == (0, "a\nb\n")  # type: ignore[arg-type]


async def test_guests_do_not_share_files() -> None:
    """Each guest has a disk of its own."""
    guests = [Guest(host="127.0.0.1", port=0, authorized_keys=[PUBLIC], hostname=f"vm-{n}") for n in range(2)]
    ports = [await guest.start() for guest in guests]
    async with connect(ports[0]) as one, connect(ports[1]) as two:
        await one.run("echo secret > f")
        assert (await run(two, "cat f"))[0] == 1
    for guest in guests:
        await guest.stop()


async def test_stop_cuts_open_sessions_and_may_be_repeated(guest: tuple[Guest, int]) -> None:
    """A VM that is torn down does not keep anyone connected."""
    async with connect(guest[1]) as connection:
        process = await connection.create_process("cat")
        await guest[0].stop()
        await guest[0].stop()
        await connection.wait_closed()
        await process.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", guest[1])


async def test_noise_instead_of_ssh_leaves_the_guest_usable(guest: tuple[Guest, int]) -> None:
    """A port scanner's garbage ends its own connection only."""
    reader, writer = await asyncio.open_connection("127.0.0.1", guest[1])
    writer.write(b"\x00\xff garbage\r\n" * 1000)
    await reader.read()
    writer.close()
    async with connect(guest[1]) as connection:
        assert (await run(connection, "true"))[0] == 0


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client on this machine")
async def test_the_real_openssh_client_works(guest: tuple[Guest, int], tmp_path: Path) -> None:
    """The exact command that the tools hand to an agent."""
    key = tmp_path / "key"
    KEY.write_private_key(key)
    key.chmod(0o600)
    command = ["ssh", "-F", "none", "-p", str(guest[1]), "-i", str(key), "-o", "StrictHostKeyChecking=no"]
    command += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]
    for extra in (["-tt"], []):
        done = await asyncio.to_thread(
            subprocess.run, [*command, *extra, "root@127.0.0.1", "uname -a"], capture_output=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(b"Linux vm-1 ")
