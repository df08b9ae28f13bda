"""Fixtures for tests of services and tools: a world, and pauses that are short."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aleph_agentd.services import billing_end, birth, erasure, forwarding, provisioner
from support.world import Machine, World


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The services' pauses between two looks, cut; what decides on time has its own clock."""
    monkeypatch.setattr(birth, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(birth, "_MAX_PAUSE_S", 0.01)
    monkeypatch.setattr(birth, "BROADCAST_S", 0.5)
    monkeypatch.setattr(birth, "NOTIFY_S", 0.5)
    monkeypatch.setattr(birth, "ADDRESS_S", 0.5)
    monkeypatch.setattr(birth, "ASK_AGAIN_S", 0.3)
    monkeypatch.setattr(billing_end, "_CONFIRM_PAUSES_S", (0, 0))
    monkeypatch.setattr(erasure, "_GONE_PAUSES_S", (0, 0))
    monkeypatch.setattr(forwarding, "_CONFIRM_PAUSES_S", (0, 0))
    monkeypatch.setattr(forwarding, "_SHOWN_PAUSES_S", (0, 0))
    monkeypatch.setattr(provisioner, "_BILLING_END_S", 2.0)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Where daemons live one after another."""
    return Machine(tmp_path)


@pytest.fixture
async def world(machine: Machine) -> AsyncIterator[World]:
    """One life of the daemon."""
    async with machine.life() as life:
        yield life
