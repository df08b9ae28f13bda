"""Fixtures for the tests of the network adapter: nodes that say what a test wants, and a network over them."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aleph_agentd.adapters.aleph.network import Network, open_network
from support.network import SHORT, FakeNode, open_node, settings_for


@pytest.fixture(autouse=True)
def _own_directory() -> Iterator[None]:
    """Loading the SDK changes to `/`, on purpose; tests go on where they were."""
    here = Path.cwd()
    yield
    os.chdir(here)


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    """One fake node."""
    async for opened in open_node():
        yield opened


@pytest.fixture
async def other_node() -> AsyncIterator[FakeNode]:
    """A second fake node."""
    async for opened in open_node():
        yield opened


@pytest.fixture
def key_path(tmp_path: Path) -> Path:
    """A sound key file."""
    path = tmp_path / "ethereum.key"
    path.write_bytes(bytes(range(1, 33)))
    path.chmod(0o600)
    return path


@pytest.fixture
async def network(node: FakeNode, key_path: Path) -> AsyncIterator[Network]:
    """A network of one fake node, with short time-outs."""
    async with open_network(settings_for(key_path, node.url, timeouts=SHORT)) as opened:
        yield opened
