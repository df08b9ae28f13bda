"""A stand-in for any model's API that refuses everything and remembers what it was sent."""

import json
from typing import Any

from .loopback import Loopback, Quiet

REFUSAL = {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}


class Recorder(Loopback):
    """Serves until the `with` block ends."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        super().__init__(_handler(self))


def _handler(recorder: Recorder) -> type[Quiet]:
    class Handler(Quiet):
        def do_GET(self) -> None:
            self.answer(400, REFUSAL)

        def do_POST(self) -> None:
            raw = self.body()
            try:
                recorder.bodies.append(json.loads(raw))
            except ValueError:
                recorder.bodies.append(raw.decode(errors="replace"))
            self.answer(400, REFUSAL)

    return Handler
