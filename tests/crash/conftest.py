"""A devnet for all crash tests, and a daemon with an account of its own for each."""

from collections.abc import Iterator

import pytest

from support.daemon import DaemonProcess
from support.devnet import DevnetProcess


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    """One local network."""
    with DevnetProcess(tmp_path_factory.mktemp("crash-net")) as started:
        yield started


@pytest.fixture
def net(network: DevnetProcess) -> Iterator[DevnetProcess]:
    """The network, without the faults of other tests."""
    network.clear_faults()
    yield network
    network.clear_faults()


@pytest.fixture
def daemon(net: DevnetProcess) -> Iterator[DaemonProcess]:
    """A running daemon that may do what the tests need."""
    limits = {"ALEPH_AGENT_MAX_CONCURRENT_VMS": "50", "ALEPH_AGENT_MAX_CREATES_PER_HOUR": "100"}
    with DaemonProcess(net, environment=limits) as started:
        yield started
