"""The job script as a VM's own shell runs it, in a home of its own."""

import os
import secrets
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from aleph_agentd.domain.guest_jobs import JobReport, line_for, report_of

WAIT_S = 30.0
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Begins one call of the script, with this standard input; `open_` leaves that without an end."""

    def begin(line: str, stdin: bytes = b"", *, open_: bool = False) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            ["/bin/sh", "-c", line],
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin
        with suppress(BrokenPipeError):  # it is begun already, and this is not read
            process.stdin.write(stdin)
            process.stdin.flush()
        if not open_:
            process.stdin.close()
            process.stdin = None
        return process

    return begin


def told(process: "subprocess.Popen[bytes]", nonce: str) -> JobReport:
    """What it answers."""
    out, err = process.communicate()
    report = report_of(out, nonce)
    assert report is not None, err
    return report


def new() -> tuple[str, str]:
    """A nonce, and a job's id."""
    return secrets.token_hex(8), secrets.token_hex(6)


@pytest.mark.parametrize("command", [b"echo x >> log\n\n echo \xc3\xa9 >> log\n\n", b"echo x >> log"])
def test_a_command_that_is_cut_anywhere_leaves_nothing(start: Start, tmp_path: Path, command: bytes) -> None:
    """Only what a shell would not have kept anyway may be missing: the newlines at its end."""
    nonce, job = new()
    line = line_for(nonce, "start", job, 0, None, command)
    for cut in range(len(command.rstrip(b"\n"))):
        process = start(line, command[:cut])
        assert process.communicate()[0] == b""
        assert process.returncode == 1
    assert list(tmp_path.iterdir()) == []
    line = line_for(nonce, "start", job, WAIT_S, None, command)
    report = told(start(line, command.rstrip(b"\n")), nonce)
    assert (report.state, report.exit_code) == ("done", 0)
    assert (tmp_path / "log").read_bytes().startswith(b"x\n")


def test_of_thirty_starts_at_once_one_runs_and_none_is_told_of_a_loss(start: Start, tmp_path: Path) -> None:
    """Round after round; each looks at the one that runs, and nothing but the job stays behind."""
    command = b"echo x >> log; sleep 0.2; echo y"
    for number in range(1, 9):
        _, job = new()
        nonces = [secrets.token_hex(8) for _ in range(30)]
        lines = [line_for(nonce, "start", job, 0, None, command) for nonce in nonces]
        running = [start(line, command, open_=True) for line in lines]
        for (
            process
        ) in running:  # most have seen that there is no such job, and wait for the end of its command
            assert process.stdin
            process.stdin.close()
            process.stdin = None
        states = {told(process, nonce).state for process, nonce in zip(running, nonces, strict=True)}
        assert states <= {"running", "done"}
        report = told(start(line_for(nonces[0], "look", job, WAIT_S)), nonces[0])
        assert (report.state, report.exit_code, report.out.head) == ("done", 0, b"y\n")
        assert (tmp_path / "log").read_text() == "x\n" * number
        kept = {path.name for path in (tmp_path / ".aleph-agent" / "jobs" / job).iterdir()}
        assert kept == {"boot", "code", "command", "err", "out", "pid"}


def test_a_start_that_was_killed_before_its_job_ran_is_told_as_lost(start: Start, tmp_path: Path) -> None:
    """Whoever had the right to run it is dead, and nobody takes that right over."""
    (nonce, job), ended = new(), subprocess.Popen(["true"])
    ended.wait()
    home = tmp_path / ".aleph-agent" / "jobs" / job
    home.mkdir(parents=True)
    (home / "pid").write_text(f"{ended.pid}\n")
    (home / "boot").write_text(Path("/proc/sys/kernel/random/boot_id").read_text())
    command = b"echo x >> log"
    assert told(start(line_for(nonce, "start", job, 1, None, command), command), nonce).state == "lost"
    assert not (tmp_path / "log").exists()


def test_a_start_that_was_cut_before_it_had_the_right_is_begun_by_the_next(start: Start) -> None:
    """What it left is in nobody's way."""
    nonce, job = new()
    command = b'mkdir -p "$HOME/.aleph-agent/jobs/%s"' % job.encode()
    start(command.decode()).communicate()
    report = told(start(line_for(nonce, "start", job, WAIT_S, None, b"echo y"), b"echo y"), nonce)
    assert (report.state, report.out.head) == ("done", b"y\n")
