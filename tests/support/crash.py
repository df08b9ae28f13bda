"""Killing a daemon at a chosen request: the network holds that request back until the daemon is dead."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aleph_agentd.domain.errors import Refusal
from support.daemon import DaemonProcess, NotReady, eventually

HELD_S = 60.0
"""Longer than any daemon here lives: the held answer never arrives."""
LATE_S = 3.0
"""Long enough for the daemon to be dead and back before the held request takes effect."""


@dataclass(frozen=True)
class Cut:
    """One request, and on which side of its effect the daemon dies."""

    method: str
    path: str
    when: str
    """`lost`: it never took effect; `late`: it does after the restart; `done`: it did, unanswered."""

    def __str__(self) -> str:
        return f"{self.method}-{self.path.strip('/').replace('/', '-')}-{self.when}"

    @property
    def effect(self) -> dict[str, Any]:
        """The fault that holds the request."""
        match self.when:
            case "lost":
                return {"latency_s": HELD_S, "drop": "before"}
            case "late":
                return {"latency_s": LATE_S}
            case _:
                return {"latency_s": HELD_S, "when": "after"}


async def die_at(
    daemon: DaemonProcess,
    cut: Cut,
    act: Coroutine[Any, Any, Any],
    took_effect: Callable[[], object] | None = None,
) -> None:
    """Do something, and kill the daemon -9 while the network holds the cut's request."""
    fault = daemon.net.fault(cut.effect, method=cut.method, path=cut.path, count=1)
    doing = asyncio.ensure_future(act)
    await eventually(lambda: _hits(daemon, fault["number"]), f"a request for {cut}")
    if took_effect is not None:
        await eventually(took_effect, f"the effect of {cut}")
    daemon.kill()
    with suppress(Refusal, NotReady):
        await doing
    daemon.net.clear_faults()


def _hits(daemon: DaemonProcess, number: int) -> int:
    return int(next(fault["hits"] for fault in daemon.net.faults() if fault["number"] == number))
