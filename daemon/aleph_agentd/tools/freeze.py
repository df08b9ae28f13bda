"""aleph_freeze: an agent stops the creates of its own project."""

from pydantic import Field

from ..domain.clock import iso
from ..domain.freezes import scope_of
from .base import Answer, Arguments, Call, Tool
from .views import footer


class FreezeArguments(Arguments):
    """Why."""

    reason: str = Field("asked for by the agent", min_length=1, max_length=200)


class Frozen(Answer):
    """What is frozen now."""

    frozen: str
    since: str | None
    next: str


async def run(call: Call, arguments: FreezeArguments) -> Frozen:
    """Creates of the caller's own project only: never extends, never teardown, never anybody else's (rules.md 13)."""
    caller = call.caller
    scope = scope_of(caller.project, caller.session)
    reason = "".join(c for c in arguments.reason if c.isprintable())
    made = await call.services.freezes.freeze(reason, f"{caller.client or 'a session'}", scope)
    return Frozen(
        **await footer(call),
        frozen=f"creates of {scope}",
        since=iso(made.at),
        next="VMs that run go on, and can be extended and destroyed. Only the owner lifts it: aleph-agentctl unfreeze",
    )


TOOL = Tool(
    name="aleph_freeze",
    title="Freeze creates",
    description="Stop creating VMs in this project until the owner lifts it. Running VMs are not touched.",
    arguments=FreezeArguments,
    answer=Frozen,
    run=run,
    idempotent=True,
    open_world=False,
)
