"""A devnet for all end-to-end tests, and a daemon with an account of its own for each."""

from collections.abc import Iterator

import pytest

from support.daemon import DaemonProcess
from support.devnet import DevnetProcess


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    """One local network."""
    with DevnetProcess(tmp_path_factory.mktemp("e2e-net")) as started:
        yield started


@pytest.fixture
def net(network: DevnetProcess) -> Iterator[DevnetProcess]:
    """The network, without the faults of other tests."""
    network.clear_faults()
    yield network
    network.clear_faults()


@pytest.fixture
def daemon(net: DevnetProcess) -> Iterator[DaemonProcess]:
    """A running daemon with the mission's limits."""
    with DaemonProcess(net) as started:
        yield started


@pytest.fixture(scope="module")
def resident(network: DevnetProcess) -> Iterator[DaemonProcess]:
    """A running daemon that the tests of one module share: for what leaves nothing behind."""
    with DaemonProcess(network) as started:
        yield started
