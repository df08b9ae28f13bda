"""From the lives of VMs to sums: by day, by project, by session. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

Answer = dict[str, Any]

MOST_ROWS = 15
OTHERS = "all others"


@dataclass(frozen=True)
class Life:
    """One VM between its first and its last billed moment."""

    vm: Answer
    begin: datetime
    end: datetime
    """When its billing ended, or the time of the report."""
    credits: Decimal


@dataclass(frozen=True)
class Sum:
    """What belongs together."""

    label: str
    credits: Decimal
    count: int


def lives(vms: Iterable[Answer], until: datetime) -> list[Life]:
    """Those VMs that have cost something, or run, in the order given."""
    found = []
    for vm in vms:
        begin = at(vm.get("billed_from")) or until
        end = at(vm.get("billed_until")) or begin
        credits_ = vm.get("estimated_credits") if vm.get("live") else vm.get("settled_credits")
        found.append(Life(vm, begin, max(begin, end), Decimal(str(credits_ or 0))))
    return found


def by_day(those: Iterable[Life], since: datetime, until: datetime) -> list[tuple[date, Decimal]]:
    """Credits of each UTC day, empty ones too: a cost is spread evenly over the time for which it was billed."""
    days: defaultdict[date, Decimal] = defaultdict(Decimal)
    for life in those:
        for day, share in _shares(life):
            days[day] += share
    first, last = since.astimezone(UTC).date(), until.astimezone(UTC).date()
    every = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [(day, days[day]) for day in every]


def _shares(life: Life) -> Iterable[tuple[date, Decimal]]:
    begin, end = life.begin.astimezone(UTC), life.end.astimezone(UTC)
    whole = (end - begin) / timedelta(seconds=1)
    if whole <= 0:
        yield begin.date(), life.credits
        return
    while begin < end:
        midnight = datetime.combine(begin.date() + timedelta(days=1), datetime.min.time(), UTC)
        part = (min(end, midnight) - begin) / timedelta(seconds=1)
        yield begin.date(), life.credits * Decimal(part) / Decimal(whole)
        begin = midnight


def grouped(those: Iterable[Life], label: Callable[[Answer], str]) -> list[Sum]:
    """The dearest first; what is beyond the first rows is one."""
    costs: defaultdict[str, Decimal] = defaultdict(Decimal)
    counts: defaultdict[str, int] = defaultdict(int)
    for life in those:
        word = label(life.vm)
        costs[word] += life.credits
        counts[word] += 1
    sums = sorted((Sum(word, costs[word], counts[word]) for word in costs), key=lambda one: -one.credits)
    rest = sums[MOST_ROWS:]
    if not rest:
        return sums
    together = Sum(OTHERS, sum((one.credits for one in rest), Decimal()), sum(one.count for one in rest))
    return [*sums[:MOST_ROWS], together]


def at(value: object) -> datetime | None:
    """An instant of an answer; None for what is none."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
