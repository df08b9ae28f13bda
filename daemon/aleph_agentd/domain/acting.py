"""On whose behalf work is done. It follows the work: into jobs that it starts, and into its transactions."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from .caller import Caller


@dataclass(frozen=True)
class Act:
    """Who acts, in which session, and for which request."""

    actor: str = "daemon"
    session: str = ""
    request_key: str = ""


BY_ITSELF = Act()
"""What nobody asked for: the daemon's own timers, and all that follows from them."""

_act: ContextVar[Act] = ContextVar("act", default=BY_ITSELF)
_decided: ContextVar[str] = ContextVar("decided", default="")


def act_of(caller: Caller, request_key: str | None = None) -> Act:
    """What a caller does; the kernel vouches for uid and pid, the socket for `human`."""
    peer = caller.peer
    actor = f"{'human' if peer.human else 'agent'} uid={peer.uid} pid={peer.pid}"
    return Act(actor, caller.session, request_key or "")


def acting() -> Act:
    """On whose behalf this runs."""
    return _act.get()


@contextmanager
def on_behalf_of(act: Act) -> Iterator[None]:
    """What runs within, and what is started within, is done on this behalf."""
    token = _act.set(act)
    try:
        yield
    finally:
        _act.reset(token)


def decided() -> str:
    """The id of the approval that this very call has had its client decide on; empty in every other call."""
    return _decided.get()


def note_decided(approval_id: str) -> None:
    """For the rest of this call, which is a task of its own: it is sent again, and must not ask for twice as much."""
    _decided.set(approval_id)
