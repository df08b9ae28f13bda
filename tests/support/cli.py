"""Many command lines in one process, as `python -m support.cli`: a list of them in, a list of [code, said] out."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

_LIMIT_S = 90


def run(lines: list[list[str]], environment: dict[str, str], folder: Path) -> list[tuple[int, str]]:
    """What `aleph-agentctl` says to each."""
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


def main() -> None:
    """Carry out what standard input says; no terminal is there to ask a passphrase on."""
    from aleph_agentd.control.__main__ import main as control

    lines, told = json.load(sys.stdin), []
    os.setsid()
    for words in lines:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                code = control(words)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        told.append([code, said.getvalue()])
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
