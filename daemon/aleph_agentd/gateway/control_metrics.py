"""`metrics` on control.sock: the figures as Prometheus reads them, and as data."""

import math
from collections.abc import Mapping
from typing import Any

from ..domain.metrics import PREFIX, Family, render
from ..services.measuring import Measuring
from .rpc.connection import Connection, Handler


class Metrics:
    """The handler of `metrics`."""

    def __init__(self, measuring: Measuring) -> None:
        self._measuring = measuring

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the methods of control.sock."""
        return {"metrics": self.metrics}

    async def metrics(self, _: Connection, __: Mapping[str, Any]) -> dict[str, Any]:
        """All of them, now."""
        families = await self._measuring.families()
        return {"text": render(families), "metrics": [_view(family) for family in families]}

    async def text(self) -> str:
        """For whoever scrapes."""
        return render(await self._measuring.families())


def _view(family: Family) -> dict[str, Any]:
    return {
        "name": PREFIX + family.name,
        "kind": family.kind,
        "help": family.help,
        "samples": [
            {"suffix": sample.suffix, "labels": dict(sample.labels), "value": sample.value}
            for sample in family.samples
            if math.isfinite(sample.value)
        ],
    }
