"""What the network itself has seen: when a node could not be reached, and when a CRN had a VM in its pool.

Kept in memory from the start of the process on: it is for long runs, whose figures `figures.py` makes of it.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Span:
    """From a moment to another; `to` is None while it lasts."""

    since: float
    to: float | None = None


class Witness:
    """Takes notes; whoever changes something tells it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.outages: defaultdict[str, list[Span]] = defaultdict(list)
        """By node: `ccn`, or a CRN's hash."""
        self.stays: defaultdict[str, list[tuple[str, Span]]] = defaultdict(list)
        """By VM: the CRN, and for how long."""

    def reachable(self, node: str, *, now_is: bool) -> None:
        """Whether a node answers from now on; saying it twice is harmless."""
        spans = self.outages[node]
        if now_is and spans and spans[-1].to is None:
            spans[-1].to = self._now()
        elif not now_is and not (spans and spans[-1].to is None):
            spans.append(Span(self._now()))

    def entered(self, crn: str, item_hash: str) -> None:
        """A CRN took a VM into its pool."""
        self.stays[item_hash].append((crn, Span(self._now())))

    def left(self, crn: str, item_hash: str) -> None:
        """A VM is in that pool no more."""
        for where, span in self.stays[item_hash]:
            if where == crn and span.to is None:
                span.to = self._now()
