"""Every scenario. A new module of them is named here, and nowhere else."""

from crash import (  # noqa: F401
    buttons,
    decisions,
    early,
    grants,
    hosts,
    lives,
    losses,
    machines,
    money,
    notices,
    ports,
    sweeps,
)
from crash.scenario import SCENARIOS

__all__ = ["SCENARIOS"]
