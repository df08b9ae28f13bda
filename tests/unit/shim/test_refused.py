"""A daemon that answers that it cannot run is asked again ever more rarely: each time systemd starts it for nothing."""

import itertools
import select
import time
from pathlib import Path

import pytest

from aleph_agent_mcp import link

from .conftest import FakeDaemon


def test_a_refused_shim_asks_again_ever_more_rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 s, 4 s, … up to a minute, in the words of the daemon; without a daemon it stays at 2 s."""
    monkeypatch.setenv("ALEPH_AGENT_RUNTIME_DIR", str(tmp_path))
    daemon = FakeDaemon(tmp_path / "agent.sock")
    daemon.open_error = {"code": "configuration", "message": "it cannot use its configuration"}
    daemon.start()
    tried, waits = link.Link(), []
    try:
        for now in itertools.count(1000.0):
            tried.try_connect(now)
            tried.send(now)
            while tried.state == link.OPENING:
                select.select([tried], [], [], 5)
                tried.receive(now)
            waits.append(tried.next_try - now)
            if len(waits) == 7:
                break
    finally:
        daemon.stop()
    assert waits == [2, 4, 8, 16, 32, 60, 60]
    assert "cannot use its configuration" in tried.refusal
    nobody = link.Link()
    for _ in range(9):
        nobody.try_connect(time.monotonic())
    assert nobody.next_try - time.monotonic() <= link.LAST_DELAY
