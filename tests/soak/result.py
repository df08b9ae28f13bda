"""What a run gives."""

from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """The figures of one design: the network's, and what its agents were answered."""

    name: str
    figures: dict[str, Any]
    counts: Counter[str]
    real_s: float
