"""What `top` knows: the daemon's last answers, and what the owner is about to do."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Answer = dict[str, Any]

KEPT_EVENTS = 100
_PAST_EVENTS = 20


@dataclass
class Board:
    """Filled from the daemon, read by the drawing."""

    status: Answer = field(default_factory=dict)
    vms: list[Answer] = field(default_factory=list)
    total: int = 0
    approvals: Answer = field(default_factory=dict)
    events: deque[Answer] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))
    trouble: str = "asking the daemon …"
    """Why what is shown may be old; empty: it is not."""
    hint: str = ""
    """What mends that."""
    message: str = ""
    """What came of the last key."""
    selected: str = ""
    """The id of the request that the keys are about."""
    denying: str = ""
    """The id of the request that one more key denies."""

    @property
    def waiting(self) -> list[Answer]:
        """The requests that wait for the owner, newest first."""
        return [row for row in self.approvals.get("approvals") or [] if row["state"] == "waiting"]

    @property
    def request(self) -> Answer | None:
        """The selected request; the first one while none is."""
        waiting = self.waiting
        chosen = [row for row in waiting if row["id"] == self.selected]
        found = chosen or waiting
        return found[0] if found else None

    def learn(self, status: Answer, page: Answer, approvals: Answer) -> None:
        """Take the daemon's answers; those VMs first whose leases end first."""
        self.status, self.approvals, self.total = status, approvals, page["total"]
        self.vms = sorted(page["vms"], key=lambda vm: str(vm.get("ttl_expires_at") or "9"))
        self.trouble = self.hint = ""
        request = self.request
        self.selected = request["id"] if request else ""
        if self.denying != self.selected:
            self.denying = ""

    def happened(self, events: Iterable[Answer]) -> None:
        """Take events; one that was seen before, after a new connection, is not shown twice."""
        for event in events:
            if event["id"] > self.last_event:
                self.events.append(event)

    def watch_from(self, newest: int) -> int:
        """The id to watch after, a little in the past. What another inventory told, with other ids, is dropped."""
        if newest < self.last_event:
            self.events.clear()
        return max(self.last_event, newest - _PAST_EVENTS, 0)

    @property
    def last_event(self) -> int:
        """The id of the newest event; 0 before the first."""
        return int(self.events[-1]["id"]) if self.events else 0

    def step(self, by: int) -> None:
        """Select the next request, or the one before."""
        ids = [row["id"] for row in self.waiting]
        if ids:
            place = ids.index(self.selected) if self.selected in ids else 0
            self.selected, self.denying = ids[(place + by) % len(ids)], ""
