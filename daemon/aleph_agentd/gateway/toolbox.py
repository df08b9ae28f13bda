"""What the gateway needs of the tools."""

from typing import Any, Protocol

from aleph_agentd.domain.caller import Caller, Progress


class Toolbox(Protocol):
    """The agent's verbs, as every way of calling them sees them."""

    @property
    def instructions(self) -> str:
        """What an agent should know before its first call."""

    def listing(self) -> list[dict[str, Any]]:
        """The tools in MCP's shape: name, title, description, inputSchema, outputSchema, annotations, _meta."""

    async def call(
        self,
        name: str,
        arguments: object,
        *,
        caller: Caller,
        request_key: str | None,
        progress: Progress | None,
    ) -> dict[str, Any]:
        """Validate, run, and give the structured result; raises Refusal.

        Cancelling the call ends the waiting and never the work: that belongs to the daemon.
        """


class Around:
    """A toolbox around another one; what it does not change is the other's."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    @property
    def instructions(self) -> str:
        """As the toolbox has them."""
        return self._toolbox.instructions

    def listing(self) -> list[dict[str, Any]]:
        """As the toolbox has it."""
        return self._toolbox.listing()
