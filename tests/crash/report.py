"""The table that `make crash` prints."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crash.cases import Outcome
from crash.load import Loaded
from crash.verdict import Verdict

COLUMNS = ("lost", "double", "overdue", "unaccounted")
_HEAD = ("", "points", "kills", *COLUMNS)


@dataclass
class Line:
    """One row of the table."""

    name: str
    points: int | None
    kills: int
    verdicts: list[Verdict]

    def cells(self) -> tuple[str, ...]:
        """As text."""
        counts = [sum(len(dict(verdict)[column]) for verdict in self.verdicts) for column in COLUMNS]
        return (
            self.name,
            "" if self.points is None else str(self.points),
            str(self.kills),
            *map(str, counts),
        )


def table(outcomes: Sequence[Outcome], loaded: Loaded | None) -> str:
    """A row per operation, one for all of them, one for the random kills."""
    groups = list(dict.fromkeys(outcome.case.scenario.group for outcome in outcomes))
    lines = [_line(group, [o for o in outcomes if o.case.scenario.group == group]) for group in groups]
    lines.append(_line("every fault point", outcomes))
    if loaded:
        name = f"random, under load, {loaded.vms} VMs, seed {loaded.seed}"
        lines.append(Line(name, None, loaded.kills, [loaded.verdict]))
    return _aligned([_HEAD, *(line.cells() for line in lines)])


def _line(name: str, outcomes: Sequence[Outcome]) -> Line:
    killed = [outcome for outcome in outcomes if outcome.killed]
    places = {outcome.case.point for outcome in killed}
    return Line(name, len(places), len(killed), [outcome.verdict for outcome in outcomes])


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def wrong_under_load(loaded: Loaded) -> Iterable[str]:
    """What the random kills have done, with the end of the daemon's log."""
    yield from findings(loaded.verdict)
    yield from (f"    {line[:300]}" for line in loaded.log.splitlines()[-60:])


def findings(verdict: Verdict) -> Iterable[str]:
    """Each one on a line."""
    for kind, found in verdict:
        yield from (f"  {kind}: {what}" for what in found)


def complaint(outcome: Outcome) -> str:
    """What is wrong with one case, with the end of the daemon's log; empty if it is as it should be."""
    if outcome.ok:
        return ""
    lines = [
        f"{outcome.case} ({outcome.seconds:.0f} s)",
        *([f"  {outcome.trouble}"] if outcome.trouble else []),
        *([f"  a call that is no derived site: {outcome.underived}"] if outcome.underived else []),
        *findings(outcome.verdict),
        *(f"    {line[:300]}" for line in outcome.log.splitlines()[-25:]),
    ]
    return "\n".join(lines)
