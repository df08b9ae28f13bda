"""Questions over RPC against an echo of answers of the same size, with one client for both."""

import os
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
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
_CHUNK = 64 * 1024
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

    def server_pid(self) -> int:
        """Who listens at the other end."""
        credentials = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])

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
    size = _warmed_up(agent_socket, frame)
    line = b"x" * (size - 1) + b"\n"
    _warmed_up(echo, line)
    with closing(Line(agent_socket, frame)) as daemon, closing(Line(echo, line)) as floor:
        with on_one_cpu(daemon.server_pid(), floor.server_pid()):
            pairs = interleaved(rounds, daemon.batch, floor.batch)
        checked(daemon.ask())
    return ratio(name, f"echo of {size} bytes", pairs, limit)


def _warmed_up(path: Path, frame: bytes) -> int:
    """The size of the answer. The first connection of a young process is twice as slow, the floor's too."""
    with closing(Line(path, frame)) as line:
        line.batch()
        answer = line.ask()
    return len(answer) if frame == answer else checked(answer)


@contextmanager
def on_one_cpu(*servers: int) -> Iterator[None]:
    """Client and servers take turns on one CPU: what is measured is work, not where the kernel puts whom."""
    free = os.sched_getaffinity(0)
    everybody = (0, *servers)
    try:
        for pid in everybody:
            os.sched_setaffinity(pid, {max(free)})
        yield
    finally:
        for pid in everybody:
            os.sched_setaffinity(pid, free)
