"""One devnet and one daemon for the whole suite; clients come and go."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aleph_devnet import sandbox
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess

from .claude_code import ClaudeCode


@pytest.fixture(scope="session")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    """A local network, whose VMs really run what they are told where that can be."""
    guests = {} if sandbox.trouble() else {"guest": "bwrap", **toolchain()}
    with DevnetProcess(tmp_path_factory.mktemp("devnet"), **guests) as net:
        yield net


def toolchain() -> dict[str, str]:
    """Rust for VMs, if it is on this machine; what is below /usr they see anyway."""
    if shutil.which("rustc") is None:
        return {}
    asked = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=False)
    return {"guest_tools": asked.stdout.strip()} if asked.returncode == 0 else {}


@pytest.fixture(scope="session")
def daemon(devnet: DevnetProcess) -> Iterator[DaemonProcess]:
    """A running daemon, which must stop in good order at the end and leave nothing on the network."""
    # All clients together rent more in an hour than one owner lets agents rent.
    with DaemonProcess(devnet, environment={"ALEPH_AGENT_MAX_CREATES_PER_HOUR": "200"}) as running:
        yield running
        assert running.leaves_nothing(), running.live_instances()
        assert running.terminate() == 0, running.log()


@pytest.fixture
def claude_code(daemon: DaemonProcess, tmp_path: Path) -> ClaudeCode:
    """A fresh Claude Code."""
    return ClaudeCode(daemon, tmp_path)
