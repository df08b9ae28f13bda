"""A client on a machine where no daemon runs yet."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.devnet import DevnetProcess

from . import account

pytestmark = pytest.mark.clients

RUN_S = 100


def test_the_first_call_starts_a_daemon_that_stays(devnet: DevnetProcess, tmp_path: Path) -> None:
    """The first call is answered; the daemon was told nothing by the agent, and serves the next session too."""
    if reason := account.why_not():
        pytest.skip(f"no private account here: {reason}")
    done = subprocess.run(
        [
            *account.unshare_command(),
            sys.executable,
            account.__file__,
            tmp_path,
            json.dumps(devnet.environment()),
        ],
        env={"PATH": os.environ["PATH"], "ALEPH_AGENT_MAX_CONCURRENT_VMS": "2", "PYTHONPATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert first["answer"]["balance_credits"] > 0
    assert len(second["answer"]["crns"]) == len(devnet.crns)
    assert first["daemon"] == second["daemon"]
    assert first["daemon"]["command"] == ["-I", "-m", "aleph_agentd", "run"]
    assert first["daemon"]["variables"] == ["HOME", "LANG", "LOGNAME", "PATH", "USER", "XDG_RUNTIME_DIR"]
