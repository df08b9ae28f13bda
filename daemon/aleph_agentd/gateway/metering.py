"""How long callers wait for their answers: a watch before every handler, and before every tool."""

import inspect
from collections.abc import Awaitable, Mapping
from typing import Any

from ..domain.caller import Caller, Progress
from ..services.meters import Meters, Stopwatch
from .rpc.connection import Connection, Handler
from .rpc.protocol import Params
from .toolbox import Around, Toolbox

CALL = "tools.call"
_UNTIMED = frozenset({CALL, "mcp.open"})
"""Tools are timed one by one, over MCP as well; opening a session hands the connection over."""
OTHER = "other"


def timed(handlers: Mapping[str, Handler], meters: Meters) -> dict[str, Handler]:
    """The same handlers; each answer is counted under its method."""

    def watched(method: str, handler: Handler) -> Handler:
        def run(connection: Connection, params: Params) -> object:
            with Stopwatch(meters, method) as watch:
                outcome = handler(connection, params)
                if inspect.isawaitable(outcome):
                    watch.stop()
                    return finish(outcome)
            return outcome

        async def finish(outcome: Awaitable[object]) -> object:
            with Stopwatch(meters, method):
                return await outcome

        return run

    return {
        method: handler if method in _UNTIMED else watched(method, handler)
        for method, handler in handlers.items()
    }


class TimedToolbox(Around):
    """A toolbox that counts how long each tool takes; a name that is none of ours counts as `other`."""

    def __init__(self, toolbox: Toolbox, meters: Meters) -> None:
        super().__init__(toolbox)
        self._meters = meters
        self._names = frozenset(str(tool["name"]) for tool in toolbox.listing())

    async def call(
        self,
        name: str,
        arguments: object,
        *,
        caller: Caller,
        request_key: str | None,
        progress: Progress | None,
    ) -> dict[str, Any]:
        """The toolbox's answer."""
        with Stopwatch(self._meters, CALL, name if name in self._names else OTHER):
            return await self._toolbox.call(
                name, arguments, caller=caller, request_key=request_key, progress=progress
            )
