"""Many command lines in one process, as `python -m support.cli`: a list of them in, a list of [code, said] out.

Each is a list of words: variables of its own (`NAME=value`), then `aleph-agentctl` or `aleph-agentd`, then the rest.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_LIMIT_S = 90


def run(lines: list[list[str]], environment: dict[str, str], folder: Path) -> list[tuple[int, str]]:
    """What each of them says."""
    done = subprocess.run(
        [sys.executable, "-m", "support.cli"],
        input=json.dumps(lines).encode(),
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=folder,
        capture_output=True,
        timeout=_LIMIT_S,
        check=True,
    )
    return [(code, said) for code, said in json.loads(done.stdout)]


def _carry_out(words: list[str]) -> tuple[int, str]:
    from aleph_agentd.__main__ import main as daemon
    from aleph_agentd.control.__main__ import main as control

    variables = [word for word in words if word.startswith("ALEPH_AGENT_")]
    program, *rest = words[len(variables) :]
    before = dict(os.environ)
    os.environ.update(word.split("=", 1) for word in variables)
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                code = control(rest) if program == "aleph-agentctl" else daemon(rest)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        os.environ.clear()
        os.environ.update(before)
        said.seek(0)
        return code or 0, said.read()


def main() -> None:
    """Carry out what standard input says; no terminal is there to ask a passphrase on."""
    lines = json.load(sys.stdin)
    os.setsid()
    json.dump([_carry_out(words) for words in lines], sys.stdout)


if __name__ == "__main__":
    main()
