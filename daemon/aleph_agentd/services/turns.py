"""Who may work in VMs at a time: so many calls in one VM, in the VMs of one session, and in all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ..domain.errors import Conflict
from ..domain.model import Vm

MOST_IN_ONE = 8
"""Connections to one VM at a time: one that hangs takes its own share only."""
MOST_OF_SESSION = 16
"""Into the VMs of one session: it leaves some to the others."""
MOST_IN_ALL = 32


class Turns:
    """Counts; nobody waits here."""

    def __init__(self) -> None:
        self._vms: Counter[str] = Counter()
        self._sessions: Counter[str] = Counter()

    @contextmanager
    def one(self, vm: Vm) -> Iterator[None]:
        """Held while a call runs. Raises Conflict when it would be one too many."""
        in_it, of_it, in_all = self._vms[vm.item_hash], self._sessions[vm.session], self._vms.total()
        if in_it >= MOST_IN_ONE or of_it >= MOST_OF_SESSION or in_all >= MOST_IN_ALL:
            raise Conflict(
                f"Too many calls run in VMs: {in_it} in {vm.name}, {of_it} of its session, {in_all} in all.",
                "Wait for one of them; start long commands with timeout_s=0.",
                code="busy",
            )
        self._vms[vm.item_hash] += 1
        self._sessions[vm.session] += 1
        try:
            yield
        finally:
            for counts, key in ((self._vms, vm.item_hash), (self._sessions, vm.session)):
                counts[key] -= 1
                if not counts[key]:
                    del counts[key]
