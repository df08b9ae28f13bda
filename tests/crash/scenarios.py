"""Every scenario. A new module of them is named here, and nowhere else."""

from crash import buttons, decisions, grants, hosts, lives, losses, machines, money, notices, ports, sweeps  # noqa: F401
from crash.scenario import SCENARIOS

__all__ = ["SCENARIOS"]
