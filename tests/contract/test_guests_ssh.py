"""The Guests port over real SSH: devnet's guest, and servers that misbehave."""

import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from aleph_agentd.adapters.ssh import guests as guests_module
from aleph_agentd.adapters.ssh.ends import Ends
from aleph_agentd.adapters.ssh.guests import SshGuests
from aleph_agentd.ports.guests import KEPT_BYTES, Door, GuestTrouble, HostKeyChanged, KeyPair, Ran
from aleph_devnet.guest import Guest

GUESTS = SshGuests()
KEY = GUESTS.new_key()
HERE = "127.0.0.1"
Serve = Callable[["asyncssh.SSHServerProcess[bytes]"], Awaitable[None]]


async def door(port: int, key: KeyPair = KEY) -> Door:
    return Door(HERE, port, key.private, await GUESTS.host_key(HERE, port))


@pytest.fixture
async def guest() -> AsyncIterator[Door]:
    """A VM of devnet that lets in KEY."""
    made = Guest(host=HERE, port=0, authorized_keys=[KEY.public], hostname="vm-1")
    yield await door(await made.start())
    await made.stop()


@asynccontextmanager
async def server(serve: Serve, tmp_path: Path, **options: Any) -> AsyncIterator[int]:
    """A real SSH server that does with each command whatever `serve` does."""
    allowed = tmp_path / "allowed"
    allowed.write_text(KEY.public + "\n")
    options.setdefault("server_host_keys", [asyncssh.generate_private_key("ssh-ed25519")])
    listening = await asyncssh.create_server(
        asyncssh.SSHServer,
        HERE,
        0,
        process_factory=serve,
        encoding=None,
        authorized_client_keys=str(allowed),
        **options,
    )
    yield listening.get_port()
    listening.close()


async def test_a_command_answers_with_its_output_and_exit_code(guest: Door) -> None:
    """Both streams, each on its own."""
    done = await GUESTS.run(guest, "echo hello; cat missing", 30)
    assert done.stdout.head == b"hello\n"
    assert b"missing" in done.stderr.head
    assert (done.exit_code, done.timed_out) == (1, False)


async def test_each_key_is_new_and_carries_no_comment() -> None:
    """rules.md 10: what is published names nobody; and the private half is in no repr."""
    other = GUESTS.new_key()
    assert other.public != KEY.public
    assert len(other.public.split(" ")) == 2
    assert "PRIVATE" not in repr(other)
    assert "PRIVATE" not in repr(Door(HERE, 22, other.private, ""))


async def test_another_key_does_not_get_in(guest: Door) -> None:
    """A key opens one VM only; nothing has run."""
    with pytest.raises(GuestTrouble) as refused:
        await GUESTS.run(replace(guest, private_key=GUESTS.new_key().private), "echo hello", 30)
    assert not refused.value.started


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
async def test_a_changed_host_key_is_refused_before_anything_is_sent(tmp_path: Path, kind: str) -> None:
    """Another key, also of another kind, is another machine."""
    served: list[str | None] = []

    async def serve(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        served.append(process.command)
        process.exit(0)

    async with server(serve, tmp_path, server_host_keys=[asyncssh.generate_private_key(kind)]) as port:
        first = await door(port)
        assert (await GUESTS.run(first, "true", 30)).exit_code == 0
        with pytest.raises(HostKeyChanged):
            await GUESTS.run(replace(first, host_key=GUESTS.new_key().public), "secret", 30)
    assert served == ["true"]


async def measured(where: Door, timeout_s: float) -> tuple[Ran, int]:
    """What a flood came to, and the most memory that was in use for it."""
    tracemalloc.start()
    try:
        return await GUESTS.run(where, "flood", timeout_s), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_a_flood_is_read_to_its_end_and_not_kept(tmp_path: Path) -> None:
    """Both ends of 100 MB, in bounded memory."""
    block, count = b"x" * 1_000_000, 100

    async def serve(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        process.stdout.write(b"first")
        for _ in range(count):
            process.stdout.write(block)
            await process.stdout.drain()
        process.stdout.write(b"last")
        process.exit(0)

    async with server(serve, tmp_path) as port:
        done, peak = await measured(await door(port), 90)
    assert done.stdout.total == len(block) * count + 9
    assert done.stdout.head.startswith(b"first")
    assert done.stdout.tail.endswith(b"last")
    assert len(done.stdout.head) + len(done.stdout.tail) == 2 * KEPT_BYTES
    assert peak < 20_000_000  # the server's own buffers are in it


async def test_a_command_that_hangs_is_left_at_its_time_out(tmp_path: Path) -> None:
    """What it printed so far is told."""

    async def serve(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        process.stdout.write(b"so far")
        await process.wait_closed()

    async with server(serve, tmp_path) as port:
        done = await GUESTS.run(await door(port), "hang", 1)
    assert (done.timed_out, done.exit_code, done.stdout.head) == (True, None, b"so far")


async def test_a_command_whose_end_is_unknown_is_said_to_have_started(tmp_path: Path) -> None:
    """Unknown is not gone: nobody may run it again on their own."""

    async def serve(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        process.channel.get_connection().abort()

    async with server(serve, tmp_path) as port:
        with pytest.raises(GuestTrouble) as lost:
            await GUESTS.run(await door(port), "lose", 30)
    assert lost.value.started


@pytest.mark.parametrize("host", ["localhost", "", "127.0.0.1;id", "-oProxyCommand=id"])
async def test_nothing_but_an_address_is_connected_to(host: str) -> None:
    """rules.md 18: a name is not looked up, and no shell ever sees it."""
    with pytest.raises(GuestTrouble):
        await GUESTS.host_key(host, 22)
    with pytest.raises(GuestTrouble):
        await GUESTS.run(Door(host, 22, KEY.private, KEY.public), "true", 1)


async def test_no_file_of_this_machine_has_a_say(
    guest: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a user's ssh configuration nor an agent."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host *\n  Port 1\n  User nobody\n  ProxyCommand false\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    async with asyncio.timeout(30):
        assert (await GUESTS.run(guest, "true", 30)).exit_code == 0
    assert os.listdir(tmp_path / ".ssh") == ["config"]  # and nothing was left there


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_both_ends_are_kept_whatever_the_chunks_are(step: int) -> None:
    """The head fills first, then the tail moves."""
    text, ends = bytes(range(256)) * 200, Ends()
    for start in range(0, len(text), step):
        ends.take(text[start : start + step])
    kept = ends.printed()
    assert (kept.head, kept.tail) == (text[:KEPT_BYTES], text[-KEPT_BYTES:])
    assert kept.left_out == len(text) - 2 * KEPT_BYTES


class Mean(asyncio.Protocol):
    """Greets, and then says the same for ever; nothing, if there is nothing to say."""

    def __init__(self, greeting: bytes, endless: bytes, open_: set[asyncio.Transport]) -> None:
        self._greeting, self._endless, self._open = greeting, endless, open_
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(transport)
        transport.write(self._greeting)
        if self._endless:
            self._say()

    def _say(self) -> None:
        if not (self._full or self._transport.is_closing()):
            self._transport.write(self._endless)
            asyncio.get_running_loop().call_later(0.001, self._say)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._say()


@pytest.mark.parametrize(
    ("greeting", "endless"),
    [
        (b"", b""),
        (b"SSH-2.0-OpenSSH_9.2\r\n", b""),
        (b"", b"not yet\r\n" * 4000),
        (b"", b"x" * 40_000),
        (b"SSH-2.0-x\r\n", b"\xff" * 40_000),
        (b"SSH-2.0-x\r\n", b"\x00\x00\x00\x0c\x0a\x02\x00\x00\x00\x00" * 4000),
    ],
    ids=["silent", "greets", "banner", "line", "garbage", "packets"],
)
async def test_what_never_comes_to_a_login_is_left(
    greeting: bytes, endless: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first contact and later; without a word of what it said, and in bounded memory."""
    monkeypatch.setattr(guests_module, "LOGIN_S", 0.5)
    connections: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Mean(greeting, endless, connections), HERE, 0)
    port = listening.sockets[0].getsockname()[1]
    tracemalloc.start()
    try:
        with pytest.raises(GuestTrouble) as first:
            await GUESTS.host_key(HERE, port)
        with pytest.raises(GuestTrouble) as later:
            await GUESTS.run(Door(HERE, port, KEY.private, KEY.public), "true", 30)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        for transport in connections:
            transport.abort()
        listening.close()
        await asyncio.sleep(0)
    assert not (first.value.started or later.value.started)
    assert "not yet" not in f"{first.value}{later.value}"
    assert peak < 30_000_000


class _NoLogin(asyncssh.SSHServer):
    async def begin_auth(self, username: str) -> bool:  # type: ignore[override]
        await asyncio.sleep(60)
        return True


class _NoSession(asyncssh.SSHServer):
    async def session_requested(self) -> Any:  # type: ignore[override]
        await asyncio.sleep(60)


@pytest.mark.parametrize(("kind", "sent"), [(_NoLogin, False), (_NoSession, True)])
async def test_a_server_that_hangs_at_a_later_step_is_left_too(
    kind: type[asyncssh.SSHServer], sent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it checks the key, and while it opens the session."""
    monkeypatch.setattr(guests_module, "LOGIN_S", 1.0)
    (tmp_path / "allowed").write_text(KEY.public + "\n")
    listening = await asyncssh.create_server(
        kind,
        HERE,
        0,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=str(tmp_path / "allowed"),
    )
    where = await door(listening.get_port())
    if sent:
        assert (await GUESTS.run(where, "true", 0.5)).timed_out
    else:
        with pytest.raises(GuestTrouble) as refused:
            await GUESTS.run(where, "true", 0.5)
        assert not refused.value.started
    listening.close()


async def test_data_without_end_is_left_at_the_time_out(tmp_path: Path) -> None:
    """On both streams at once, in bounded memory."""

    async def serve(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        with suppress(OSError, asyncssh.Error):
            while True:
                process.stdout.write(b"x" * 30_000)
                process.stderr.write(b"y" * 30_000)
                await process.stdout.drain()
                await process.stderr.drain()

    async with server(serve, tmp_path) as port:
        done, peak = await measured(await door(port), 1)
    assert done.timed_out
    assert (done.stdout.head[:1], done.stderr.tail[-1:]) == (b"x", b"y")
    assert peak < 20_000_000


async def test_nothing_that_a_vm_sends_is_unpacked(tmp_path: Path) -> None:
    """A few kilobytes could become gigabytes: a server that insists is not talked to."""

    async def serve(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        process.exit(0)

    async with server(serve, tmp_path, compression_algs=["zlib@openssh.com"]) as port:
        with pytest.raises(GuestTrouble):
            await GUESTS.run(Door(HERE, port, KEY.private, await GUESTS.host_key(HERE, port)), "true", 10)
