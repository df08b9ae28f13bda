"""How many calls of one process may run at a time: each costs the daemon something for as long as it waits."""

from collections import Counter
from typing import Any

from aleph_agentd.domain.caller import Caller, Progress
from aleph_agentd.domain.errors import Unavailable
from aleph_agentd.gateway.toolbox import Around, Toolbox

MAX_CALLS_PER_PROCESS = 100


class BoundedToolbox(Around):
    """A toolbox that refuses an agent's process more calls than that; a human's it does not count."""

    def __init__(self, toolbox: Toolbox) -> None:
        super().__init__(toolbox)
        self._running: Counter[int] = Counter()

    async def call(
        self,
        name: str,
        arguments: object,
        *,
        caller: Caller,
        request_key: str | None,
        progress: Progress | None,
    ) -> dict[str, Any]:
        """The toolbox's answer. Raises Unavailable, too."""
        pid = caller.peer.pid
        if self._running[pid] >= MAX_CALLS_PER_PROCESS and not caller.peer.human:
            raise Unavailable(
                f"{MAX_CALLS_PER_PROCESS} calls of process {pid} run already.",
                "Wait for one, then call again.",
                code="too_many_calls",
            )
        self._running[pid] += 1
        try:
            return await self._toolbox.call(
                name, arguments, caller=caller, request_key=request_key, progress=progress
            )
        finally:
            self._running[pid] -= 1
            if not self._running[pid]:
                del self._running[pid]
