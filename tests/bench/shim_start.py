"""From the spawn of a shim to the first answer of a tool, as an MCP client sees it."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, cast

from bench.figures import Figure, amount, interleaved, ratio
from bench.processes import PYTHON, peak_mib, time_to_exit

MAX_RATIO, MAX_MIB = 2.0, 14.0
TOOL = "aleph_check_balance"
PER_ROUND = 3
"""A start is so short that whatever else runs shows in it."""
_HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


class Shim:
    """Starts shims of one daemon, one after the other."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self._env, self._folder = env, folder
        self.mib: list[float] = []

    def first_answer(self) -> float:
        """Spawn, initialize, wait for the answer, call a tool, wait for the answer."""
        start = perf_counter()
        with subprocess.Popen(
            [PYTHON, "-m", "aleph_agent_mcp"],
            env=dict(self._env),
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        ) as process:
            pipe = _Pipe(process)
            pipe.ask(0, "initialize", _HELLO)
            pipe.tell("notifications/initialized")
            answer = pipe.ask(1, "tools/call", {"name": TOOL, "arguments": {}})
            took = perf_counter() - start
            self.mib.append(peak_mib(process.pid))
            pipe.close()
        if (
            answer["result"].get("isError")
            or answer["result"]["structuredContent"]["balance_credits"] is None
        ):
            raise RuntimeError(f"the tool did not answer: {answer}")
        return took


class _Pipe:
    """JSON-RPC lines to and from a child, nothing more."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    def ask(self, id_: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._send({"id": id_, "method": method, "params": params})
        while True:
            line = self._line()
            if line.get("id") == id_:
                return line

    def tell(self, method: str) -> None:
        self._send({"method": method})

    def close(self) -> None:
        self._stdin.close()

    def _send(self, message: dict[str, Any]) -> None:
        self._stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def _line(self) -> dict[str, Any]:
        line = b""
        while not line.endswith(b"\n"):
            # One line per answer and nothing behind it: a client that waits cannot read too far.
            piece = self._stdout.read(65_536)
            if not piece:
                raise RuntimeError("the shim ended before it answered")
            line += piece
        return cast(dict[str, Any], json.loads(line.splitlines()[-1]))


def measure(env: Mapping[str, str], folder: Path, rounds: int) -> list[Figure]:
    """Its time and its memory."""
    shim, rounds = Shim(env, folder), rounds * PER_ROUND
    pairs = interleaved(rounds, shim.first_answer, lambda: time_to_exit([PYTHON, "-c", "pass"], env))
    return [
        ratio("shim: spawn to first tools/call answer", "python -c pass", pairs, MAX_RATIO),
        amount("shim: resident memory, its peak", "MiB", shim.mib[-rounds:], MAX_MIB),
    ]
