"""What a scenario is: a name, the operation that it belongs to, and what a tenant does in it.

To add one: `make crash ARGS=--survey` names the points that nobody passes. Write a coroutine under `@scenario`
in a module that scenarios.py names; what has to die goes under `async with tenant.act()`, and what it waits for
must also come about when the daemon died on the way. Try it with `make crash ARGS="--only 'its name'"`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from crash.dying import HASTE
from crash.tenant import Tenant

Run = Callable[[Tenant], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """`run` has one or more parts under `tenant.act()`: there the daemon may die, anywhere, once."""

    group: str
    run: Run
    environment: Mapping[str, str] = field(default_factory=dict)
    everywhere: bool = False
    """Whether it dies at every point that it passes, not only at those that no quicker scenario passes."""

    @property
    def name(self) -> str:
        """As in the table."""
        return self.run.__name__.replace("_", " ")

    @property
    def about(self) -> str:
        """One sentence."""
        return (self.run.__doc__ or "").strip()


SCENARIOS: list[Scenario] = []
"""Filled by the modules that define them, in the order of the table."""


def scenario(
    group: str, *, everywhere: bool = False, hasty: bool = False, **environment: str
) -> Callable[[Run], Run]:
    """Register what is below; the environment is the daemon's, without ALEPH_AGENT_.

    `hasty`: what it does every minute or more rarely, it does every second.
    """

    def register(run: Run) -> Run:
        named = {f"ALEPH_AGENT_{name}": value for name, value in environment.items()}
        named |= {HASTE: "1"} if hasty else {}
        SCENARIOS.append(Scenario(group, run, named, everywhere))
        return run

    return register
