"""Starting programs to be timed: the clock runs from before the spawn to what they have to show."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

PYTHON = sys.executable
ANSWER_S = 60.0
_TELL = "import os; os.write(1, b'.')"


def time_to_exit(command: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """Seconds from spawn to exit."""
    start = perf_counter()
    subprocess.run(command, env=env, check=True, stdin=subprocess.DEVNULL, timeout=ANSWER_S)
    return perf_counter() - start


def time_to_imported(statements: str, env: Mapping[str, str], cwd: Path) -> float:
    """Seconds from spawn until a fresh interpreter has run these imports.

    It tells so itself: taking its modules apart again is no part of a start.
    """
    start = perf_counter()
    with subprocess.Popen(
        [PYTHON, "-c", f"{statements}\n{_TELL}"], env=dict(env), cwd=cwd, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        told = os.read(process.stdout.fileno(), 1)
        took = perf_counter() - start
        process.send_signal(signal.SIGKILL)
    if told != b".":
        raise RuntimeError(f"it could not be imported: {statements[:200]}")
    return took


def resident_mib(pid: int) -> float:
    """The memory that a living process has resident now."""
    return _status_mib(pid, "VmRSS:")


def peak_mib(pid: int) -> float:
    """The most memory that a living process has had resident so far."""
    return _status_mib(pid, "VmHWM:")


def _status_mib(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a living process has used, in its own code and in the kernel's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
