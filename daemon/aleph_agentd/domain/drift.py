"""What the network charges against what we booked, over one day. Pure.

The network books its expenses some time after they arose, and each up to a full billing quantum: what is
within a quantum at either end of the day says nothing, and neither does a VM of which nothing is told yet.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from . import money
from .model import Expense, Vm

DAY = timedelta(hours=24)
LAG = timedelta(hours=1)
"""The network may book what arose since then only later."""
TOLERANCE_PERCENT = 5
REPRICED = "repriced"
"""The cause of what is reserved for a VM on top, because it costs more or longer than was thought."""


@dataclass(frozen=True)
class Line:
    """One VM's day."""

    item_hash: str
    name: str
    ours: int
    told: int
    off: int
    """By how much it is outside of what a billing quantum explains."""

    @property
    def drifts(self) -> bool:
        """More than 5 % off."""
        return self.off * 100 > self.ours * TOLERANCE_PERCENT


@dataclass(frozen=True)
class Comparison:
    """A day of all VMs of which the network tells."""

    at: datetime
    lines: tuple[Line, ...] = ()
    untold: int = 0
    """VMs old enough to be booked, of which nothing is told."""

    @property
    def ours(self) -> int:
        """What we booked."""
        return sum(line.ours for line in self.lines)

    @property
    def told(self) -> int:
        """What the network booked."""
        return sum(line.told for line in self.lines)

    @property
    def off(self) -> int:
        """What no billing quantum explains: too much here does not make up for too little there."""
        return sum(line.off for line in self.lines)

    @property
    def drifts(self) -> bool:
        """More than 5 % of everything."""
        return self.off * 100 > self.ours * TOLERANCE_PERCENT

    @property
    def worst(self) -> list[Line]:
        """The VMs that are off, the dearest first."""
        return sorted((line for line in self.lines if line.drifts), key=lambda line: -line.off)


def compare(vms: Iterable[Vm], expenses: Iterable[Expense], now: datetime) -> Comparison:
    """The last 24 hours, VM by VM."""
    told: dict[str, int] = defaultdict(int)
    for expense in expenses:
        if now - DAY < expense.at <= now:
            told[expense.item_hash] += expense.units
    lines, untold = [], 0
    for vm in vms:
        ended = min(vm.forgotten_at or now, now)
        began = max(vm.broadcast_at or now, now - DAY)
        if min(ended, now - LAG) <= began:
            continue
        if vm.item_hash not in told:
            untold += 1
            continue
        lines.append(_line(vm, began, ended, min(ended, now - LAG), told[vm.item_hash]))
    return Comparison(now, tuple(lines), untold)


def _line(vm: Vm, began: datetime, ended: datetime, surely: datetime, told: int) -> Line:
    ours = money.cost_units(vm.rate, money.exact_s(ended - began))
    least = money.cost_units(vm.rate, money.exact_s(surely - began)) - vm.hourly_units
    off = max(0, told - ours - vm.hourly_units, least - told)
    return Line(vm.item_hash, vm.name, ours, told, off)


def whole_lives(vms: Iterable[Vm], expenses: Iterable[Expense], since: datetime) -> dict[str, int]:
    """What VMs that have ended were charged in all, for those that began after this instant."""
    over = {vm.item_hash for vm in vms if vm.forgotten_at and vm.broadcast_at and vm.broadcast_at > since}
    charged: dict[str, int] = defaultdict(int)
    for expense in expenses:
        if expense.item_hash in over:
            charged[expense.item_hash] += expense.units
    return dict(charged)
