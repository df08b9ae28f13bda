"""The hardening of the process, seen from outside of a real one."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_STRANGER = 65534
_SCRIPT = """
import os, sys
from aleph_agentd.adapters import hardening
{change_user}
hardening.harden()
hardening.forget_secrets()
print(os.getcwd(), oct(os.umask(0)), sorted(n for n in os.environ if n.upper().startswith("ALEPH")), flush=True)
sys.stdin.readline()
"""


def _start(folder: Path, change_user: str = "") -> subprocess.Popen[str]:
    unsafe = {
        "ALEPH_API_HOST": "http://evil.example",
        "aleph_private_key_string": "11",
        "ALEPH_AGENT_DATABASE_URL": "postgresql://u:secret@h/d",
        "ALEPH_AGENT_NETWORK": "devnet",
    }
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT.format(change_user=change_user)],
        cwd=folder,
        env=os.environ | unsafe,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_working_directory_umask_and_foreign_settings_are_left_behind(tmp_path: Path) -> None:
    """Only the settings that are ours and hold no secret stay."""
    with _start(tmp_path) as process:
        said, _ = process.communicate("\n", timeout=30)
    assert said.strip() == "/ 0o77 ['ALEPH_AGENT_NETWORK']"


def test_a_killed_process_leaves_no_core(tmp_path: Path) -> None:
    """SIGABRT and SIGQUIT dump nothing, whatever limit it was started with."""
    resource_line = "import resource; resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)[1:] * 2)"
    for number in (signal.SIGABRT, signal.SIGQUIT):
        with _start(tmp_path, resource_line) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)
            process.send_signal(number)
            code = process.wait(90)
        # WCOREDUMP cannot be asked of Popen: the files can.
        assert code == -number
        assert not [*tmp_path.glob("core*"), *Path("/").glob("core*")]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_process_of_its_own_user_cannot_read_its_proc_files(tmp_path: Path) -> None:
    """`environ`, `mem` and `maps` belong to root; `stat`, which tells ancestry, stays readable."""
    with _start(
        tmp_path,
        f"os.setresgid({_STRANGER}, {_STRANGER}, {_STRANGER}); os.setresuid({_STRANGER}, {_STRANGER}, {_STRANGER})",
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        looks = f"for n in environ mem maps stat; do cat /proc/{process.pid}/$n >/dev/null 2>&1 && echo $n; done; true"
        done = subprocess.run(
            ["/bin/sh", "-c", looks],
            user=_STRANGER,
            group=_STRANGER,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=True,
        )
        process.communicate("\n", timeout=30)
    assert done.stdout.split() == ["stat"]
