"""Everything here runs inside the harness: `make test-systemd`; elsewhere it is skipped, with the reason."""

import os

import pytest

from support.service import INSIDE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nothing is started or stopped on a machine that is not the tests' own."""
    if os.environ.get(INSIDE):
        return
    reason = pytest.mark.skip(reason="starts and stops units: only inside the harness, make test-systemd")
    for item in items:
        if "tests/systemd/" in str(item.path):
            item.add_marker(reason)
