"""`spend` on control.sock: every VM once, from an instant that makes sense."""

from typing import Any

import pytest

from aleph_agentd.domain.errors import BadInput
from aleph_agentd.gateway import control_spend
from aleph_agentd.gateway.control_spend import Spend
from support.world import BOB, World
from support.world_fixtures import machine, short_pauses, world

__all__ = ["machine", "short_pauses", "world"]

NOBODY: Any = None


async def test_every_session_s_vms_are_told_page_by_page(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the project that the client claimed, and both currencies."""
    monkeypatch.setattr(control_spend, "PAGE", 1)
    await world.create(name="one")
    await world.create(BOB, name="two")
    spend = Spend(world.services).methods()["spend"]
    first: Any = await spend(NOBODY, {})  # type: ignore[misc]
    second: Any = await spend(NOBODY, {"after": first["vms"][-1]["item_hash"]})  # type: ignore[misc]
    assert [vm["name"] for vm in first["vms"] + second["vms"]] == ["two", "one"]
    assert (first["more"], second["more"], second["total"]) == (True, False, 2)
    assert first["vms"][0]["reserved_usd"] == pytest.approx(first["vms"][0]["reserved_credits"] / 100)
    assert first["reserved_credits"] == 12.825
    assert (await spend(NOBODY, {"after": "no such hash"}))["vms"] == []  # type: ignore[misc,index]


@pytest.mark.parametrize("since", ["soon", "2026-11-25", 5, [], "9" * 1000])
async def test_an_instant_that_is_none_is_refused(world: World, since: Any) -> None:
    """With an example of one."""
    with pytest.raises(BadInput, match="since"):
        await Spend(world.services).spend(NOBODY, {"since": since})
