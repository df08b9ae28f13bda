"""`aleph-agentd demo`: the first thing that anybody runs."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aleph_agentd.demo import main, stage

DEMO = [sys.executable, "-m", "aleph_agentd", "demo", "--json"]


@contextmanager
def demo(tmp_path: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    """The demo, whose temporary directory lies in the test's."""
    process = subprocess.Popen(
        DEMO,
        env=os.environ | {"TMPDIR": str(tmp_path)} | env,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def left_behind(tmp_path: Path) -> list[str]:
    """Files below the test's directory, and processes that work in it."""
    found = [str(path) for path in tmp_path.iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_bytes()
        except OSError:
            continue  # it has just ended, or is not ours
        if f"HOME={tmp_path}".encode() in environ:
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def test_the_demo_proves_that_a_vm_lives_and_ends_with_its_lease(tmp_path):
    """Exit 0, told step by step, in under a minute, and nothing is left behind."""
    with demo(tmp_path) as process:
        out, told = process.communicate(timeout=110)
    proof = json.loads(out)
    assert process.returncode == 0, told
    assert proof["ok"] is True
    assert proof["forgotten"] is True and proof["running_on"] == []
    assert 0 < proof["charged_units"] < 1000
    assert proof["steps"][0]["step"].startswith("Start a local Aleph network")
    assert "[9/9] Prove that the VM is gone" in told
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing_behind(tmp_path, number):
    """Also in the middle of its work, and exits with another code than 0."""
    with demo(tmp_path) as process:
        assert process.stderr is not None
        while "[3/9]" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(out)["reason"] == "stopped"
    assert left_behind(tmp_path) == []


def test_where_there_is_no_ssh_the_demo_brings_its_own(tmp_path):
    """An empty PATH: asyncssh logs in."""
    with demo(tmp_path, PATH=str(tmp_path)) as process:
        out, told = process.communicate(timeout=110)
    assert process.returncode == 0, told
    assert any(step.get("ssh_client") == "asyncssh" for step in json.loads(out)["steps"])


def test_a_demo_that_cannot_work_says_why(tmp_path, monkeypatch, capsys):
    """Exit 1, the step and the reason, and the last words of what failed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    broken = [sys.executable, "-c", "raise SystemExit('no network today')"]
    monkeypatch.setattr(stage, "_python", lambda *_: broken)
    assert main(json_output=True) == 1
    out, told = capsys.readouterr()
    summary = json.loads(out)
    assert summary["ok"] is False
    assert summary["reason"].startswith("aleph-devnet ended before it was ready")
    assert "no network today" in summary["reason"]
    assert "FAILED at: Start a local Aleph network" in told
    assert left_behind(tmp_path) == []
