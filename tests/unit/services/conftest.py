"""The world that these tests live in, and a guard: nothing in a service may block the event loop."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from support.world_fixtures import machine, short_pauses, world

__all__ = ["machine", "short_pauses", "world"]


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[BlockBuster]:
    """A file, a lock or a socket that is waited for in the loop fails the test: one slow disk would stop every tool."""
    with blockbuster_ctx("aleph_agentd.services") as guard:
        yield guard
