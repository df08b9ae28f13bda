"""Who started whom, by the kernel: the processes above a peer, and which of them are clients of a shim.

Of the same user, this is a speed bump and not a wall: a process can leave its ancestors behind.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..domain.caller import Peer
from ..domain.errors import Denied

MAX_DEPTH = 64
MAX_CLIENTS = 1024
_SHOWN = 6
_WRAPPERS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "env"})
"""Shells that only wrap a command: the client is above them."""
_INIT = 1
_PROC = Path("/proc")


class Process(NamedTuple):
    """One process; the same pid with another start is another process."""

    pid: int
    started: int
    name: str
    parent: int
    leads_session: bool


def process(pid: int) -> Process | None:
    """What the kernel says of it; None when it is not there, or not ours to see."""
    if pid <= 0:
        return None
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name is in parentheses and may hold some itself.
    name, fields = text[text.find("(") + 1 : text.rfind(")")], text[text.rfind(")") + 2 :].split()
    return Process(pid, int(fields[19]), name, int(fields[1]), int(fields[3]) == pid)


def chain(pid: int) -> Iterator[Process]:
    """A process and those above it, up to init or where they can be seen no more."""
    for _ in range(MAX_DEPTH):
        found = process(pid)
        if found is None:
            return
        yield found
        pid = found.parent


def describe(pid: int) -> str:
    """`node (123) < claude (100) < bash (90)`: what the owner is shown."""
    found = list(chain(pid))[:_SHOWN]
    return " < ".join(f"{''.join(c for c in p.name if c.isprintable())} ({p.pid})" for p in found)


class Clients:
    """The processes that were seen to run a shim. One stays a client for as long as it lives."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], str] = {}

    def opened(self, shim: Peer) -> None:
        """A shim has opened a session: whoever started it is a client."""
        for found in _clients_of(shim.pid):
            self._seen[found.pid, found.started] = found.name
        if len(self._seen) > MAX_CLIENTS:
            self._seen = {key: name for key, name in self._seen.items() if _lives(*key)}

    def refuse_kin(self, peer: Peer) -> None:
        """Raises Denied when a peer is a client or was started by one, or when that cannot be known."""
        above = list(chain(peer.pid))
        if not above or above[-1].parent > _INIT:  # init itself may be hidden
            raise Denied(
                "Who started this command cannot be seen from here (another container, or it has ended).",
                "Run aleph-agentctl where the daemon runs, in a terminal of your own.",
                code="ancestry",
            )
        for one in above:
            if (one.pid, one.started) in self._seen:
                raise Denied(
                    f"This command was started by {one.name} ({one.pid}), which uses the tools as an agent: it cannot decide for the owner.",
                    "Open a terminal of your own, outside the agent's, and run it there.",
                    code="ancestry",
                )


def _clients_of(shim: int) -> list[Process]:
    """The shim, its parent, and whoever is above shells that only wrap it; never init, which started everything."""
    found = list(chain(shim))
    clients = found[:1]
    for one in found[1:]:
        if one.pid == _INIT or one.name == "systemd":
            break
        clients.append(one)
        if one.name not in _WRAPPERS or one.leads_session:
            break
    return clients


def _lives(pid: int, started: int) -> bool:
    found = process(pid)
    return found is not None and found.started == started
