"""What the demo says while it runs: numbered steps, what came of them, and a line that moves on a terminal."""

import json
import time
from typing import Any, TextIO

QUIET_PROGRESS_S = 5.0
"""How often progress is a line of its own where there is no terminal to rewrite."""


class Narrator:
    """Tells the story to people, and keeps it for programs."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream = stream
        self._total = total
        self._terminal = stream.isatty()
        self._start = time.monotonic()
        self._moving = False
        self._next_line_at = 0.0
        self.steps: list[dict[str, Any]] = []

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return round(time.monotonic() - self._start, 1)

    @property
    def step_name(self) -> str:
        """The step that was begun last."""
        return str(self.steps[-1]["step"]) if self.steps else "the beginning"

    def step(self, name: str) -> None:
        """Begin a step."""
        self.steps.append({"step": name, "at_s": self.seconds})
        self._next_line_at = time.monotonic() + QUIET_PROGRESS_S
        self._line(f"[{len(self.steps)}/{self._total}] {name}")

    def fact(self, text: str, **facts: Any) -> None:
        """What came of the step, in words and for programs."""
        self.steps[-1].update(facts)
        self._line(f"      {text}")

    def progress(self, text: str) -> None:
        """How far it is: rewritten in place on a terminal, now and then a line elsewhere."""
        if self._terminal:
            self._stream.write(f"\r\x1b[K      {text}")
            self._stream.flush()
            self._moving = True
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + QUIET_PROGRESS_S
            self._line(f"      {text}")

    def end(self, text: str) -> None:
        """The last word."""
        self._line("")
        self._line(text)

    def _line(self, text: str) -> None:
        if self._moving:
            self._stream.write("\r\x1b[K")
            self._moving = False
        self._stream.write(text + "\n")
        self._stream.flush()


def print_json(stream: TextIO, value: dict[str, Any]) -> None:
    """One JSON object."""
    stream.write(json.dumps(value) + "\n")
    stream.flush()
