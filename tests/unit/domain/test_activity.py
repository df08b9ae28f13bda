"""Whether a VM is idle: the script in a shell of this machine, and answers that say nothing."""

import os
import subprocess
from pathlib import Path

import pytest

from aleph_agentd.domain.activity import LOAD, MOST_GAP_S, Activity, activity_line, activity_of, after

NONCE = "0123456789abcdef"


def _printed(words: bytes) -> bytes:
    return NONCE.encode() + b" " + words + b"\n"


def test_a_shell_tells_load_logins_and_jobs_that_run(tmp_path: Path) -> None:
    """A job that has ended, or is of another boot, counts no more."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    jobs = {"runs": (boot, os.getpid(), False), "ended": (boot, os.getpid(), True), "old": ("x", 1, False)}
    for name, (of_boot, pid, ended) in jobs.items():
        job = tmp_path / ".aleph-agent/jobs" / name
        job.mkdir(parents=True)
        (job / "boot").write_text(of_boot)
        (job / "pid").write_text(f"{pid}\n")
        if ended:
            (job / "code").write_text("0\n")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    ran = subprocess.run(
        ["/bin/sh", "-c", activity_line(NONCE)], env=environment, capture_output=True, check=True
    )
    nonce, one, five, logins, running = ran.stdout.decode().split()
    assert (nonce, running) == (NONCE, "1")
    assert float(one) >= 0
    assert float(five) >= 0
    assert int(logins) >= 0


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        (b"0.00 0.19 1 0", True),
        (b"0.20 0.00 1 0", False),
        (b"0.00 0.20 1 0", False),
        (b"0.00 0.00 2 0", False),
        (b"0.00 0.00 1 1", False),
    ],
)
def test_idle_is_no_load_no_other_login_and_no_job(words: bytes, idle: bool) -> None:
    """One login is the one that asks."""
    seen = activity_of(b"Welcome!\n" + _printed(words), NONCE)
    assert seen is not None
    assert seen.idle is idle


@pytest.mark.parametrize(
    "printed",
    [
        b"",
        b"0.00 0.00 1 0\n",
        _printed(b"0.00 0.00 0 0"),
        _printed(b"-0.00 0.00 1 0"),
        _printed(b"nan 0.00 1 0"),
        _printed(b"0 0 1 0"),
        _printed(b"0.00 0.00 1"),
        _printed(b"0.00 0.00 1 0 0"),
        _printed(b"0.00 0.00 1 0")[:-1],
        _printed("0.00 0.00 1 ٠".encode()),
        b"x" + _printed(b"0.00 0.00 1 0"),
        _printed(b"0.00 0.00 " + b"9" * 5000 + b" 0"),
    ],
)
def test_whatever_is_no_plain_answer_is_no_observation(printed: bytes) -> None:
    """Nor is one of a VM that does not see the login that asks: it would see no other."""
    assert activity_of(printed, NONCE) is None


def test_a_streak_grows_only_by_looks_that_follow_soon_and_of_the_same_lease() -> None:
    """A gap, an extension, or a clock that goes back begins it anew."""
    streak = after(after(None, 100, 1), 220, 1)
    assert streak.span_s == 120
    assert after(streak, 220 + MOST_GAP_S, 1).span_s == 120 + MOST_GAP_S
    assert after(streak, 221 + MOST_GAP_S, 1).span_s == 0
    assert after(streak, 230, 2).span_s == 0
    assert after(streak, 219, 1).span_s == 0
    assert Activity(LOAD, 0, 0).idle is False
