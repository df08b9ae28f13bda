"""Questions over RPC against an echo of answers of the same size, with one client for both."""

import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import msgpack

from bench.figures import Figure, interleaved, ratio
from bench.processes import ANSWER_S, PYTHON

MAX_PING, MAX_BALANCE = 3.0, 40.0
BATCH = 200
"""Round trips per round; a round counts as its median, so that a turn of a cache is not seen."""
_CHUNK = 256 * 1024
_ECHO = Path(__file__).with_name("echo_server.py")


class Line:
    """One connection and one question that is asked again and again."""

    def __init__(self, path: Path, question: bytes) -> None:
        self.question = question
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(ANSWER_S)
        self.socket.connect(str(path))

    def ask(self) -> bytes:
        """One round trip. Every answer here is sent in one piece, and small enough to arrive so."""
        self.socket.sendall(self.question)
        return self.socket.recv(_CHUNK)

    def batch(self) -> float:
        """The median of many round trips."""
        times = []
        for _ in range(BATCH):
            start = perf_counter()
            self.ask()
            times.append(perf_counter() - start)
        return median(times)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


def question(method: str, **params: Any) -> bytes:
    """A request frame."""
    return bytes(msgpack.packb([0, 1, method, [params]]))


def checked(answer: bytes) -> int:
    """The size of an answer that is whole and no error."""
    _, _, error, result = msgpack.unpackb(answer)
    if error is not None or not result:
        raise RuntimeError(f"the daemon refused: {error}")
    return len(answer)


@contextmanager
def echo_server(path: Path) -> Iterator[Path]:
    """An echo in a process of its own."""
    with subprocess.Popen([PYTHON, str(_ECHO), str(path)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield path
        finally:
            process.send_signal(signal.SIGTERM)


QUESTIONS: Mapping[str, tuple[str, bytes, float]] = {
    "ping": ("rpc: ping", question("ping"), MAX_PING),
    "balance": (
        "rpc: aleph_check_balance, cached",
        question("tools.call", name="aleph_check_balance", arguments={}),
        MAX_BALANCE,
    ),
}


def measure(agent_socket: Path, folder: Path, rounds: int) -> list[Figure]:
    """Each question against its echo."""
    with echo_server(folder / "echo.sock") as echo:
        return [_against_echo(agent_socket, echo, *what, rounds) for what in QUESTIONS.values()]


def _against_echo(
    agent_socket: Path, echo: Path, name: str, frame: bytes, limit: float, rounds: int
) -> Figure:
    with ExitStack() as stack:
        daemon = Line(agent_socket, frame)
        stack.callback(daemon.close)
        size = checked(daemon.ask())
        floor = Line(echo, b"x" * (size - 1) + b"\n")
        stack.callback(floor.close)
        pairs = interleaved(rounds, daemon.batch, floor.batch)
        checked(daemon.ask())
    return ratio(name, f"echo of {size} bytes", pairs, limit)
