"""Everything here runs inside the harness: `make test-systemd`; elsewhere it is skipped, with the reason."""

import os
from collections.abc import Iterator

import pytest

from support.devnet import DevnetProcess
from support.service import INSIDE


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    """One local network, outside of the sandbox."""
    with DevnetProcess(tmp_path_factory.mktemp("net")) as started:
        yield started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nothing is started or stopped on a machine that is not the tests' own."""
    if os.environ.get(INSIDE):
        return
    reason = pytest.mark.skip(reason="starts and stops units: only inside the harness, make test-systemd")
    for item in items:
        if "tests/systemd/" in str(item.path):
            item.add_marker(reason)
