"""One devnet and one daemon for the whole suite; clients come and go."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.daemon import DaemonProcess
from support.devnet import DevnetProcess

from .claude_code import ClaudeCode


@pytest.fixture(scope="session")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    """A local network."""
    with DevnetProcess(tmp_path_factory.mktemp("devnet")) as net:
        yield net


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
