"""What the owner is told of without asking: which events, in which words, and how often. Pure.

Both ends use it: the daemon for its webhook, and `aleph-agentctl notify` for the owner's screen. At most one notice
per cause and interval: what happens in between is gathered, and told in one when the interval is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from .clock import iso
from .names import one_line

LONGEST_TITLE, LONGEST_TEXT = 120, 300
_LISTED = 5
"""So many of what was gathered are told in words; the others are counted."""


class Cause(StrEnum):
    """Why a notice is sent."""

    ENDS_SOON = "lease_ends_soon"
    TORN_DOWN = "torn_down"
    ENDED_IDLE = "ended_idle"
    STUCK = "stuck"
    ORPHAN = "orphan_found"
    APPROVAL = "approval_wanted"
    BUDGET = "budget"
    RUNWAY = "low_runway"
    ALARM = "alarm"
    TEST = "test"


ENDS_SOON, STUCK, BUDGET, TEST = "ends_soon", "stuck", "budget", "notify_test"
ENDED_IDLE = "ended_idle"
"""Kinds of events that are written in order to be told."""

CAUSES = {
    ENDS_SOON: Cause.ENDS_SOON,
    "settled": Cause.TORN_DOWN,
    ENDED_IDLE: Cause.ENDED_IDLE,
    STUCK: Cause.STUCK,
    "orphan": Cause.ORPHAN,
    "approval_asked": Cause.APPROVAL,
    BUDGET: Cause.BUDGET,
    "low_balance": Cause.RUNWAY,
    TEST: Cause.TEST,
    **dict.fromkeys(
        (
            *(
                "freeze",
                "panic",
                "clock",
                "drift",
                "overrun",
                "price_unit",
                "late_expense",
                "undead",
                "stale",
            ),
            *("unreachable", "off_host", "removing", "delegation_missing", "ended_for_balance", "restoring"),
            *("import_problem",),
        ),
        Cause.ALARM,
    ),
}
"""Kind of event → cause. Events of other kinds are nobody's interruption."""

TITLES = {
    Cause.ENDS_SOON: "A lease ends soon",
    Cause.TORN_DOWN: "A VM has ended",
    Cause.ENDED_IDLE: "An idle VM is ended early",
    Cause.STUCK: "A VM cannot be ended yet",
    Cause.ORPHAN: "A VM without a row was found under your key",
    Cause.APPROVAL: "An agent asks for your approval",
    Cause.BUDGET: "The daily budget is nearly used up",
    Cause.RUNWAY: "The balance does not last",
    Cause.ALARM: "aleph-agentd: alarm",
    Cause.TEST: "aleph-agentd: this is a test",
}

HINTS = {
    Cause.ENDS_SOON: "aleph-agentctl vms",
    Cause.STUCK: "aleph-agentctl status",
    Cause.ORPHAN: "aleph-agentctl orphans",
    Cause.APPROVAL: "aleph-agentctl approvals",
    Cause.BUDGET: "aleph-agentctl spend",
    Cause.RUNWAY: "aleph-agentctl status",
    Cause.ALARM: "aleph-agentctl status",
}

INTERVALS = {
    Cause.ENDS_SOON: timedelta(minutes=1),
    Cause.TORN_DOWN: timedelta(minutes=1),
    Cause.ENDED_IDLE: timedelta(minutes=1),
    Cause.STUCK: timedelta(hours=1),
    Cause.ORPHAN: timedelta(hours=1),
    Cause.APPROVAL: timedelta(seconds=30),
    Cause.BUDGET: timedelta(hours=1),
    Cause.RUNWAY: timedelta(hours=1),
    Cause.ALARM: timedelta(minutes=5),
    Cause.TEST: timedelta(seconds=1),
}


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One interruption of the owner. Title and text are one line each, printable, and cut."""

    id: int
    """Of the newest event in it: who was told twice of one can tell."""
    cause: Cause
    at: datetime
    title: str
    text: str
    item_hash: str = ""
    name: str = ""
    count: int = 1
    """How many events it stands for."""

    def as_dict(self) -> dict[str, Any]:
        """The form in which programs read it."""
        return {
            "id": self.id,
            "cause": str(self.cause),
            "at": iso(self.at),
            "title": self.title,
            "text": self.text,
            "item_hash": self.item_hash,
            "name": self.name,
            "count": self.count,
        }


def notice_of(event: Mapping[str, Any], at: datetime) -> Notice | None:
    """The notice for an event as `events.watch` tells it; None for one that interrupts nobody."""
    cause = CAUSES.get(str(event.get("kind")))
    if cause is None:
        return None
    name = cut(str(event.get("name") or ""), 64)
    text, hint = cut(str(event.get("text") or ""), LONGEST_TEXT - 100), HINTS.get(cause, "")
    # Some events already begin with the name.
    words = text if not name or text.startswith(name) else f"{name}: {text}"
    return Notice(
        id=int(event.get("id") or 0),
        cause=cause,
        at=at,
        title=TITLES[cause],
        text=cut(f"{words} → {hint}" if hint else words, LONGEST_TEXT),
        item_hash=cut(str(event.get("item_hash") or ""), 64),
        name=name,
    )


def cut(text: str, longest: int) -> str:
    """One printable line of at most this many characters: agents and hosts choose names and words."""
    line = one_line(text[: 4 * longest])
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


@dataclass
class Gathered:
    """What waits for the end of its cause's interval."""

    first: list[Notice] = field(default_factory=list)
    count: int = 0
    newest: int = 0

    def add(self, notice: Notice) -> None:
        """The first few in full; of the others only that they were."""
        self.count, self.newest = self.count + 1, max(self.newest, notice.id)
        if len(self.first) < _LISTED:
            self.first.append(notice)

    def told(self) -> Notice:
        """All of them as one."""
        if self.count == 1:
            return self.first[0]
        words = " | ".join(
            cut(one.text.rpartition(" → ")[0] or one.text, LONGEST_TEXT // _LISTED) for one in self.first
        )
        more = f" | and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        head = self.first[0]
        title = f"{head.title} ({self.count} times)"
        text = f"{words[: LONGEST_TEXT - len(more)]}{more}"
        return replace(head, id=self.newest, title=title, text=text, item_hash="", name="", count=self.count)


class Pace:
    """At most one notice per cause and interval. What it holds is bounded, however much happens."""

    def __init__(self) -> None:
        self._last: dict[Cause, datetime] = {}
        self._waiting: dict[Cause, Gathered] = {}

    def add(self, notice: Notice) -> None:
        """Something happened."""
        self._waiting.setdefault(notice.cause, Gathered()).add(notice)

    def due(self, now: datetime) -> list[Notice]:
        """What is to be told now, in the order in which it happened."""
        told: list[Notice] = []
        for cause in list(self._waiting):
            last = self._last.get(cause)
            # A clock that was put back must not silence a cause.
            if last is None or now - last >= INTERVALS[cause] or now < last:
                self._last[cause] = now
                told.append(self._waiting.pop(cause).told())
        return sorted(told, key=lambda notice: notice.id)

    def next_in(self, now: datetime) -> float | None:
        """Seconds until something that waits is due; None when nothing does."""
        waits = [
            (last + INTERVALS[cause] - now).total_seconds() if (last := self._last.get(cause)) else 0.0
            for cause in self._waiting
        ]
        return max(0.0, min(waits)) if waits else None
