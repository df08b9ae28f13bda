"""What the owner is told when the inventory cannot be used: a refusal in words, not a mistake of ours."""

import inspect
from collections.abc import Awaitable, Mapping

from ..domain.errors import Unavailable
from ..ports import StoreTrouble
from .rpc.connection import Connection, Handler
from .rpc.protocol import Params


def explained(handlers: Mapping[str, Handler]) -> dict[str, Handler]:
    """The same handlers; trouble with the inventory is refused as `store`, as in tools."""

    def spoken(handler: Handler) -> Handler:
        def run(connection: Connection, params: Params) -> object:
            try:
                outcome = handler(connection, params)
            except StoreTrouble as trouble:
                raise _refusal(trouble) from trouble
            return finish(outcome) if inspect.isawaitable(outcome) else outcome

        return run

    async def finish(outcome: Awaitable[object]) -> object:
        try:
            return await outcome
        except StoreTrouble as trouble:
            raise _refusal(trouble) from trouble

    return {method: spoken(handler) for method, handler in handlers.items()}


def _refusal(trouble: StoreTrouble) -> Unavailable:
    return Unavailable(f"The inventory cannot be used: {trouble}.", "aleph-agentctl doctor", code="store")
