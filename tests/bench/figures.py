"""What a benchmark says: one line per figure, against its floor and its limit."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from statistics import median
from typing import Any

WARM_UP = 1
"""Rounds that are thrown away: byte code, page cache, branch predictors."""


@dataclass(frozen=True)
class Figure:
    """A measured thing: `value` is a ratio to the floor, or an amount with a unit."""

    name: str
    value: float
    unit: str
    limit: float | None
    detail: str
    rounds: int

    @property
    def ok(self) -> bool:
        """Whether the limit, if there is one, is kept."""
        return self.limit is None or self.value <= self.limit

    def row(self) -> tuple[str, ...]:
        """The cells of its line."""
        limit = "" if self.limit is None else f"≤ {self.limit:g}"
        verdict = "" if self.limit is None else "ok" if self.ok else "MISSED"
        return self.name, f"{self.value:.2f} {self.unit}", limit, verdict, f"n={self.rounds}", self.detail

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "ok": self.ok}


def ratio(
    name: str, floor_name: str, pairs: Sequence[tuple[float, float]], limit: float | None = None
) -> Figure:
    """The median of what was measured over the median of its floor, both in seconds."""
    measured, floor = (median(column) for column in zip(*pairs, strict=True))
    detail = f"{_time(measured)} against {_time(floor)}: {floor_name}"
    return Figure(name, measured / floor, "×", limit, detail, len(pairs))


def amount(name: str, unit: str, values: Sequence[float], limit: float | None = None) -> Figure:
    """The median of amounts."""
    detail = f"{min(values):.2f} to {max(values):.2f} {unit}"
    return Figure(name, median(values), unit, limit, detail, len(values))


def worst(
    name: str, unit: str, values: Sequence[float], limit: float | None = None, *, share: float = 0.99
) -> Figure:
    """What this share of amounts does not exceed."""
    ordered = sorted(values)
    detail = f"median {median(ordered):.2f} {unit}, at most {ordered[-1]:.2f} {unit}"
    return Figure(name, ordered[ceil(share * len(ordered)) - 1], unit, limit, detail, len(ordered))


def interleaved(
    rounds: int, measure: Callable[[], float], floor: Callable[[], float]
) -> list[tuple[float, float]]:
    """Run both in turn, so that the machine's noise hits both; one pair per round."""
    pairs = [(measure(), floor()) for _ in range(WARM_UP + rounds)]
    return pairs[WARM_UP:]


def table(figures: Sequence[Figure]) -> str:
    """All lines, aligned."""
    rows = [figure.row() for figure in figures]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"
