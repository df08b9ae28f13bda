"""One installation in the test user's systemd, for all tests of this folder."""

from collections.abc import Iterator

import pytest

from support.devnet import DevnetProcess
from support.service import SERVICE, SOCKET, Service


@pytest.fixture(scope="session")
def installed(network: DevnetProcess) -> Iterator[Service]:
    """The units, enabled."""
    service = Service(network)
    service.prepare()
    service.install()
    service.systemctl("enable", "--now", SOCKET)
    yield service
    service.systemctl("disable", "--now", SOCKET)


@pytest.fixture
def service(installed: Service) -> Iterator[Service]:
    """A running service without changes of other tests."""
    installed.net.clear_faults()
    installed.systemctl("start", SOCKET, SERVICE)
    yield installed
    installed.net.clear_faults()
