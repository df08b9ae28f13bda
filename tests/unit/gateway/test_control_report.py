"""`report` on control.sock: when each VM lived, and what it cost."""

from datetime import datetime
from typing import Any

import pytest

from aleph_agentd.domain.errors import BadInput
from aleph_agentd.gateway import control_report
from aleph_agentd.gateway.control_report import Report
from support.world import BOB, World
from support.world_fixtures import machine, short_pauses, world

__all__ = ["machine", "short_pauses", "world"]

NOBODY: Any = None


async def test_lives_are_told_page_by_page_with_their_money(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has ended ends where its billing did; one that lives, now."""
    monkeypatch.setattr(control_report, "PAGE", 1)
    old = await world.create(name="old")
    world.clock.forward(seconds=3600)
    await world.end(old, passes=3)
    ended = await world.row(old)
    world.clock.forward(seconds=1800)
    await world.create(BOB, name="new")
    world.clock.forward(seconds=600)
    report = Report(world.services)
    first = await report.report(NOBODY, {})
    second = await report.report(NOBODY, {"after": first["vms"][-1]["item_hash"]})
    new, gone = first["vms"][0], second["vms"][0]
    assert (first["more"], second["more"]) == (True, False)
    assert (new["name"], new["live"], new["project"]) == ("new", True, "/home/you/bob")
    assert new["billed_until"] == first["until"]
    assert (gone["name"], gone["live"]) == ("old", False)
    assert ended.forgotten_at is not None
    assert datetime.fromisoformat(gone["billed_until"]) == ended.forgotten_at.replace(microsecond=0)
    assert gone["settled_credits"] > 0


@pytest.mark.parametrize("since", ["soon", "2026-11-25", 5])
async def test_an_instant_that_is_none_is_refused(world: World, since: Any) -> None:
    """As `spend` does."""
    with pytest.raises(BadInput, match="since"):
        await Report(world.services).report(NOBODY, {"since": since})
