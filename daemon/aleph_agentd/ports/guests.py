"""What runs inside the VMs: reached over SSH, with a key of each VM's own. All of it is hostile (rules.md 18)."""

from dataclasses import dataclass, field
from typing import Protocol

KEPT_BYTES = 8 * 1024
"""Of each end of a stream, unless told otherwise."""


class GuestTrouble(Exception):
    """The VM could not be reached, or was lost. `started`: the command may have begun to run all the same."""

    def __init__(self, words: str, *, started: bool = False) -> None:
        super().__init__(words)
        self.started = started


class HostKeyChanged(GuestTrouble):
    """Another machine answers where the VM was, or the VM was made anew: nothing was sent to it."""


@dataclass(frozen=True)
class KeyPair:
    """An SSH key that lets the daemon into one VM."""

    private: str = field(repr=False)
    public: str
    """`ssh-ed25519 AAAA…`, without a comment (rules.md 10)."""


@dataclass(frozen=True)
class Door:
    """How to get into one VM: an address that a CRN gave and that passed our checks, and the keys of both ends."""

    host: str
    port: int
    private_key: str = field(repr=False)
    host_key: str
    """The pinned one, as `Guests.host_key` gave it at first contact."""


@dataclass(frozen=True)
class Printed:
    """The two ends of what a command printed; what was between them is gone."""

    head: bytes = b""
    tail: bytes = b""
    total: int = 0

    @property
    def left_out(self) -> int:
        """How many bytes are missing between the ends."""
        return self.total - len(self.head) - len(self.tail)


@dataclass(frozen=True)
class Ran:
    """How a command ended: `exit_code` is None when a signal, the VM or the time-out ended it."""

    exit_code: int | None
    stdout: Printed
    stderr: Printed
    timed_out: bool = False


class Guests(Protocol):
    """The VMs from inside. Nothing of this machine goes along: no agent, no configuration, no known_hosts.

    Every method raises GuestTrouble, and takes bounded time and memory whatever the other end does.
    """

    def new_key(self) -> KeyPair:
        """A fresh key for one VM. The only method that asks nobody."""
        ...

    async def host_key(self, host: str, port: int) -> str:
        """The host key shown there, to be stored before anything is sent. Logs in nowhere."""
        ...

    async def run(
        self, door: Door, command: str, timeout_s: float, *, stdin: bytes = b"", most: int = KEPT_BYTES
    ) -> Ran:
        """Run a command as root; at the time-out it is hung up on. Of each end of a stream, `most` bytes are kept.

        Raises HostKeyChanged before anything is sent; GuestTrouble with `started` when the end is unknown.
        """
        ...
