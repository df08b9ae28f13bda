"""A few simulated hours, in a process of its own: its clocks are not this one's."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from soak import run, table
from soak.result import Result


def soak(*more: str) -> tuple[int, dict[str, Any]]:
    """Run it; its exit code and its figures."""
    command = [sys.executable, str(Path(run.__file__)), "--json", "--days", "0.2", "--per-day", "200", *more]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(300)
def test_the_daemon_keeps_its_promises_through_hours_of_trouble() -> None:
    """Nothing lost, nothing twice, no credits without a row, nothing late without excuse."""
    code, told = soak("--seed", "8")
    assert (code, told["broken"]) == (0, [])
    daemon, naive = told["results"]
    assert daemon["figures"]["vms"] > 10
    assert [daemon["figures"][name] for name in ("lost", "double", "without_row")] == [[], [], []]
    assert naive["figures"]["late_h"] > 10 * daemon["figures"]["late_h"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lost": ["ab" * 32]}, "1 lost: abababababab"),
        ({"double": ["ab" * 32]}, "1 double: abababababab"),
        ({"without_row": ["ab" * 32]}, "1 without row: abababababab"),
        (
            {"latest": [[601.0, "ab" * 32]]},
            "a VM was 601 s late without excuse, more than 600 s: abababababab",
        ),
        ({"late_h": 1.0}, "VMs were 360 s late on average without excuse, more than 30 s"),
    ],
)
def test_each_broken_promise_is_said(changes: dict[str, Any], said: str) -> None:
    """And none when none is broken."""
    kept = {
        "vms": 10,
        "lost": [],
        "double": [],
        "without_row": [],
        "late_h": 0.0,
        "latest": [[9.0, "cd" * 32]],
    }
    assert table.faults(Result("daemon", kept, {}, 1.0)) == []
    assert table.faults(Result("daemon", kept | changes, {}, 1.0)) == [said]
