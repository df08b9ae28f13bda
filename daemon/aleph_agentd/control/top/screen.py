"""The terminal while `top` has it: another screen, single keys, no cursor; and as it was, however it ends."""

import os
import shutil
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from aleph_agentd.domain.errors import Refusal

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_KEYS = {"\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down", "k": "up", "j": "down"}
_MOST = 64
SMALLEST = (20, 5)


class Screen:
    """A context: inside it the terminal is ours."""

    def __init__(self) -> None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
            raise Refusal(
                "top draws on a terminal, and this is none",
                "aleph-agentctl status; or `top --json` once, for a program",
                code="no_terminal",
            )
        self.keys = sys.stdin.fileno()
        self._before: list[Any] = termios.tcgetattr(self.keys)

    def __enter__(self) -> Self:
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    @contextmanager
    def left(self) -> Iterator[None]:
        """Give the terminal back for a while: for a passphrase, or for the shell."""
        self._give_back()
        try:
            yield
        finally:
            self._take()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        size = shutil.get_terminal_size()
        return max(SMALLEST[0], size.columns), max(SMALLEST[1], size.lines)

    def show(self, lines: list[str]) -> None:
        """Draw over what is there, without a flicker; a terminal that is gone is no reason to fail."""
        _write("\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[K\x1b[J")

    def read(self) -> list[str]:
        """The keys that were pressed: letters, `up`, `down`; `hangup` when the terminal is gone."""
        try:
            data = os.read(self.keys, _MOST)
        except OSError:
            return ["hangup"]
        return parse(data) if data else ["hangup"]

    def _take(self) -> None:
        with suppress(termios.error):
            tty.setcbreak(self.keys)
        _write(_ENTER)

    def _give_back(self) -> None:
        _write(_LEAVE)
        with suppress(termios.error):
            termios.tcsetattr(self.keys, termios.TCSADRAIN, self._before)


def parse(data: bytes) -> list[str]:
    """Bytes of a terminal as keys; what is unknown is left out."""
    text, found = data.decode("ascii", "ignore"), list[str]()
    while text:
        sequence = next((s for s in _KEYS if text.startswith(s)), text[0])
        text = text[len(sequence) :]
        if sequence == "\x1b":
            text = text.lstrip("[O0123456789;")[1:]  # a sequence that we do not know, whole
        elif key := _KEYS.get(sequence, sequence if sequence.isprintable() else ""):
            found.append(key)
    return found


def _write(text: str) -> None:
    with suppress(OSError, ValueError):
        sys.stdout.write(text)
        sys.stdout.flush()
