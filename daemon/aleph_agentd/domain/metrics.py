"""Figures about the daemon, and how Prometheus reads them (text format 0.0.4)."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

PREFIX = "aleph_agentd_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
"""Upper ends of a histogram's buckets: from an answer out of memory to a create with all its patience."""


@dataclass(frozen=True)
class Sample:
    """One number of a family; `suffix` is `_bucket`, `_sum` or `_count` for histograms."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()
    suffix: str = ""


@dataclass(frozen=True)
class Family:
    """All samples of one name, given without the prefix. What is not known has no sample: it is not zero."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    samples: tuple[Sample, ...]


class Timings:
    """How long something took, counted in buckets: the same memory however often it happens."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum += seconds

    def samples(self, labels: tuple[tuple[str, str], ...]) -> Iterator[Sample]:
        """Cumulative buckets, sum and count."""
        total = 0
        for bound, count in zip((*BOUNDS_S, math.inf), self._counts, strict=True):
            total += count
            yield Sample(total, (*labels, ("le", _number(bound))), "_bucket")
        yield Sample(self._sum, labels, "_sum")
        yield Sample(total, labels, "_count")


def gauge(name: str, help_text: str, value: float | None) -> Family:
    """A family of one number, or of none while that is not known."""
    return Family(name, "gauge", help_text, () if value is None else (Sample(value),))


def by_label(
    name: str,
    help_text: str,
    label: str,
    values: Mapping[str, float],
    kind: Literal["gauge", "counter"] = "gauge",
) -> Family:
    """A family with a sample for each value of one label; whoever gives the values bounds them."""
    samples = tuple(Sample(value, ((label, word),)) for word, value in values.items())
    return Family(name, kind, help_text, samples)


def render(families: Iterable[Family]) -> str:
    """The text that Prometheus scrapes."""
    return "".join(line + "\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    name = PREFIX + family.name
    yield f"# HELP {name} {_escaped(family.help)}"
    yield f"# TYPE {name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(f'{word}="{_quoted(value)}"' for word, value in sample.labels)
        yield f"{name}{sample.suffix}{'{' + labels + '}' if labels else ''} {_number(sample.value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
