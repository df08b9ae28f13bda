"""A fresh network for every test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.local_network import LocalNetwork, local_network


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[LocalNetwork]:
    """A network of three CRNs, whose VMs boot in 30 s of its own time."""
    async with local_network(tmp_path) as network:
        yield network
