"""The `Guests` port over asyncssh, which is loaded at the first use: it costs a third of a second."""

import asyncio
import importlib
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from ...ports.guests import KEPT_BYTES, Door, GuestTrouble, HostKeyChanged, KeyPair, Ran
from .ends import Ends

if TYPE_CHECKING:
    import asyncssh

USER = "root"
LOGIN_S = 15.0
CLOSE_S = 2.0
_CHUNK = 32 * 1024
_WINDOW = 256 * 1024
"""How much a VM may send before it is read."""

_ISOLATED: dict[str, Any] = {
    "config": None,  # no file of this machine has a say: none of ~/.ssh, none of /etc/ssh
    "agent_path": None,
    "agent_forwarding": False,
    "x509_trusted_certs": None,
    "gss_host": None,
    "password_auth": False,
    "kbdint_auth": False,
    "host_based_auth": False,
    "preferred_auth": "publickey",
    "compression_algs": ["none"],  # what is packed is bounded, what it unpacks to is not
}


class SshGuests:
    """Each call is a connection of its own: nothing lingers when a VM ends."""

    def new_key(self) -> KeyPair:
        """An ed25519 key, without a comment."""
        import asyncssh

        key = asyncssh.generate_private_key("ssh-ed25519")
        public = key.export_public_key().decode().split()
        return KeyPair(key.export_private_key().decode(), " ".join(public[:2]))

    async def host_key(self, host: str, port: int) -> str:
        """What a server shows before anybody logs in."""
        _checked(host, port)
        await _loaded()
        import asyncssh

        try:
            async with asyncio.timeout(LOGIN_S):
                key = await asyncssh.get_server_host_key(host, port, config=None)
        except (OSError, asyncssh.Error) as error:
            raise GuestTrouble(_words(error)) from error
        if key is None:
            raise GuestTrouble("it shows no host key")
        return " ".join(key.export_public_key().decode().split()[:2])

    async def run(
        self, door: Door, command: str, timeout_s: float, *, stdin: bytes = b"", most: int = KEPT_BYTES
    ) -> Ran:
        """A command without a terminal; both streams are read to their end and kept in part."""
        async with self._connection(door) as connection:
            import asyncssh

            out, err = Ends(most), Ends(most)
            try:
                async with asyncio.timeout(timeout_s):
                    process = await connection.create_process(
                        command, encoding=None, window=_WINDOW, max_pktsize=_CHUNK
                    )
                    with suppress(BrokenPipeError):  # it ended without reading
                        process.stdin.write(stdin)
                        process.stdin.write_eof()
                    await asyncio.gather(_drain(process.stdout, out), _drain(process.stderr, err))
                    await process.wait_closed()
            except TimeoutError:
                return Ran(None, out.printed(), err.printed(), timed_out=True)
            except (OSError, asyncssh.Error) as error:
                raise GuestTrouble(_words(error), started=True) from error
            if process.exit_status is None:  # a connection that broke off ends its streams too
                raise GuestTrouble("the connection ended before the command did", started=True)
            code = process.exit_status
            return Ran(code if code >= 0 else None, out.printed(), err.printed())

    @asynccontextmanager
    async def _connection(self, door: Door) -> "AsyncIterator[asyncssh.SSHClientConnection]":
        _checked(door.host, door.port)
        await _loaded()
        connection = await _log_in(door)
        try:
            yield connection
        finally:
            connection.abort()


async def _log_in(door: Door) -> "asyncssh.SSHClientConnection":
    import asyncssh

    pinned = asyncssh.import_public_key(door.host_key)
    try:
        async with asyncio.timeout(LOGIN_S):
            return await asyncssh.connect(
                door.host,
                door.port,
                username=USER,
                client_keys=[asyncssh.import_private_key(door.private_key)],
                known_hosts=([pinned], [], []),
                # All of them, so that a key of another kind is seen as another key.
                server_host_key_algs="default",
                **_ISOLATED,
            )
    except asyncssh.HostKeyNotVerifiable as error:
        raise HostKeyChanged("its host key is not the one of the first contact") from error
    except (OSError, asyncssh.Error) as error:
        raise GuestTrouble(_words(error)) from error


async def _loaded() -> None:
    await asyncio.to_thread(importlib.import_module, "asyncssh")


async def _drain(stream: "asyncssh.SSHReader[bytes]", ends: Ends) -> None:
    while chunk := await stream.read(_CHUNK):
        ends.take(chunk)


def _checked(host: str, port: int) -> None:
    """Never a name: what a name means is for its owner to say, at any time (rules.md 18)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise GuestTrouble("it has no sound address yet") from None
    if not 0 < port < 65536:
        raise GuestTrouble("it has no sound port yet")


def _words(error: Exception) -> str:
    """Why, without what the other end said: that is hostile."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__
