"""One installation in the system's systemd, its accounts, and all of it taken away at the end."""

from collections.abc import Iterator

import pytest

from support.devnet import DevnetProcess
from support.service import SERVICE, SOCKET
from support.system_service import CONTROL_SOCKET_UNIT, SystemService, can_seal


@pytest.fixture(scope="session")
def installed(network: DevnetProcess) -> Iterator[SystemService]:
    """Accounts and units; removed also when a test or the installation itself failed."""
    if not can_seal():
        pytest.skip("no systemd-creds: the key cannot be sealed (systemd 250 or newer)")
    service = SystemService(network)
    try:
        service.prepare()
        service.install()
        service.systemctl("enable", "--now", SOCKET, CONTROL_SOCKET_UNIT)
        yield service
    finally:
        service.remove()


@pytest.fixture
def service(installed: SystemService) -> Iterator[SystemService]:
    """A running service without changes of other tests."""
    installed.net.clear_faults()
    installed.systemctl("start", SOCKET, CONTROL_SOCKET_UNIT, SERVICE)
    yield installed
    installed.net.clear_faults()
