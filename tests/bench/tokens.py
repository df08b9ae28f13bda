"""What the tool list costs a model: `make tokens` prints it beside two well-known servers of the same run.

Counted is what a model sees of a tool: name, description and arguments. With npm the count is that of
o200k (js-tiktoken); without it, or where it cannot install that, an estimate, and the table says so.
"""

import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aleph_agentd.tools.toolbox import ALL

MOST_TOOLS, MOST_TOGETHER = 15, 1900
MOST_EACH = {"aleph_create_vm": 350}
MOST_OTHERS = 150
ESTIMATE_SLACK = 1.1
"""The estimate is about a tenth above the real count, so that with this it is about as strict."""
_NPM = ("js-tiktoken", "@modelcontextprotocol/server-memory", "@modelcontextprotocol/server-filesystem")
_INSTALL_S, _ANSWER_S, _TELL_S = 300, 60, 5
_PIECE = re.compile(r"[A-Za-z]+|[0-9]{1,3}|\s+|[^A-Za-z0-9\s]+")
_WORD_CHARS = 6.5
_COUNT = """
const { getEncoding } = require("js-tiktoken");
const o200k = getEncoding("o200k_base");
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(texts.map((text) => o200k.encode(text).length)));
"""


def seen_by_a_model(tool: dict[str, Any]) -> str:
    """A tool as it gets into a prompt."""
    seen = {name: tool[name] for name in ("name", "description", "inputSchema") if name in tool}
    return json.dumps(seen, separators=(",", ":"), ensure_ascii=False)


def our_tools() -> list[dict[str, Any]]:
    """What the daemon lists."""
    return [tool.listing() for tool in ALL]


def estimate(text: str) -> int:
    """Tokens, roughly: a word of common length is one, and so is a run of signs."""
    return sum(math.ceil(len(piece) / _WORD_CHARS) for piece in _PIECE.findall(text) if not piece.isspace())


def over_budget(counts: dict[str, int], slack: float = 1.0) -> list[str]:
    """What is wrong with these counts; empty when all is within the limits, times `slack` for an estimate."""
    wrong = [
        f"{name}: {count} tokens, at most {most}"
        for name, count in counts.items()
        if count > (most := MOST_EACH.get(name, MOST_OTHERS)) * slack
    ]
    if len(counts) > MOST_TOOLS:
        wrong.append(f"{len(counts)} tools, at most {MOST_TOOLS}")
    if sum(counts.values()) > MOST_TOGETHER * slack:
        wrong.append(f"{sum(counts.values())} tokens together, at most {MOST_TOGETHER}")
    return wrong


class Npm:
    """The counter and the servers to compare with, in a directory that goes away."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(directory), *_NPM]
        _watched(command, f"npm installs {', '.join(_NPM)} for this run")

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each."""
        counted = subprocess.run(
            ["node", "-e", _COUNT],
            cwd=self._directory,
            input=json.dumps(texts),
            check=True,
            capture_output=True,
            text=True,
            timeout=_ANSWER_S,
        )
        numbers: list[int] = json.loads(counted.stdout)
        return numbers

    def tools(self, program: str, *arguments: str) -> list[dict[str, Any]]:
        """What a server over stdio lists."""
        path = self._directory / "node_modules" / ".bin" / program
        client = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        lines = (
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
        )
        with subprocess.Popen(
            [str(path), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as server:
            assert server.stdin
            assert server.stdout
            try:
                server.stdin.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
                server.stdin.flush()
                for line in server.stdout:
                    if (answer := json.loads(line)).get("id") == 2:
                        listed: list[dict[str, Any]] = answer["result"]["tools"]
                        return listed
            finally:
                server.kill()
        raise RuntimeError(f"{program} lists no tools")


def _watched(command: Sequence[str], what: str) -> None:
    """Run it; stderr says every few seconds that it goes on. Raises RuntimeError if it fails or takes too long."""
    begun = time.monotonic()
    print(f"{what} …", file=sys.stderr, flush=True)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
        while True:
            try:
                code = running.wait(_TELL_S)
                break
            except subprocess.TimeoutExpired:
                waited = time.monotonic() - begun
                if waited > _INSTALL_S:
                    running.kill()
                    raise RuntimeError(f"npm took more than {_INSTALL_S} s") from None
                print(f"… {waited:.0f} s", file=sys.stderr, flush=True)
    if code:
        raise RuntimeError(f"npm could not install it (exit code {code})")


def _compared(texts: list[str]) -> tuple[list[int], str, dict[str, list[int]]]:
    """Our counts, how they were made, and those of the other servers."""
    if not (shutil.which("npm") and shutil.which("node")):
        return [estimate(text) for text in texts], "ESTIMATED tokens: there is no npm here", {}
    with tempfile.TemporaryDirectory(prefix="aleph-tokens-") as directory:
        try:
            npm = Npm(Path(directory))
        except RuntimeError as error:
            return [estimate(text) for text in texts], f"ESTIMATED tokens: {error}", {}
        others = {}
        for name, arguments in (("mcp-server-memory", ()), ("mcp-server-filesystem", (directory,))):
            print(f"counting {name} …", file=sys.stderr, flush=True)
            others[name] = npm.count([seen_by_a_model(tool) for tool in npm.tools(name, *arguments)])
        return npm.count(texts), "o200k tokens", others


def main() -> int:
    """Print the table; 1 when something is over its limit."""
    tools = our_tools()
    texts = [seen_by_a_model(tool) for tool in tools]
    numbers, how, others = _compared(texts)
    counts = dict(zip((tool["name"] for tool in tools), numbers, strict=True))
    print(f"{'tool':<24}{'tokens':>8}{'limit':>8}   ({how}; name, description, arguments)")
    for name, count in counts.items():
        print(f"{name:<24}{count:>8}{MOST_EACH.get(name, MOST_OTHERS):>8}")
    print(f"{f'together, {len(counts)} tools':<24}{sum(numbers):>8}{MOST_TOGETHER:>8}")
    for name, count in others.items():
        print(f"{f'{name}, {len(count)}':<28}{sum(count):>4}")
    wrong = over_budget(counts, 1.0 if others else ESTIMATE_SLACK)
    print("\n".join(wrong) or "within the limits")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
