"""What a scenario is: a name, the operation that it belongs to, and what a tenant does in it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

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


def scenario(group: str, *, everywhere: bool = False, **environment: str) -> Callable[[Run], Run]:
    """Register what is below; the environment is the daemon's, without ALEPH_AGENT_."""

    def register(run: Run) -> Run:
        named = {f"ALEPH_AGENT_{name}": value for name, value in environment.items()}
        SCENARIOS.append(Scenario(group, run, named, everywhere))
        return run

    return register
