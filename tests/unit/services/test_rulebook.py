"""A policy that is read again: as a whole, or not at all, and whoever asks hears of it."""

from dataclasses import replace

from aleph_agentd.domain.limits import Limits
from aleph_agentd.services.rulebook import Rulebook
from support.world import World


def _rulebook(world: World, *reads: Limits | str) -> Rulebook:
    left = list(reads)
    return Rulebook(world.inventory, world.clock, world.services.treasury, lambda: left.pop(0))


async def _told(world: World) -> list[str]:
    return [event.text for event in await world.inventory.events(0, 10) if event.kind == "policy"]


async def test_a_policy_that_cannot_be_read_leaves_the_old_one_in_force_and_says_so(world: World) -> None:
    """In every answer, until one can be read."""
    before = world.services.treasury.limits
    new = replace(before, max_concurrent_vms=1)
    rulebook = _rulebook(world, "max_ttl_hours is 'soon'", new)
    assert rulebook.alerts() == []
    assert not await rulebook.reload()
    assert world.services.treasury.limits == before
    [alert] = rulebook.alerts()
    assert "max_ttl_hours is 'soon'" in alert
    assert rulebook.figures()["trouble"]
    assert await rulebook.reload()
    assert world.services.treasury.limits == new
    assert rulebook.alerts() == []
    assert rulebook.figures()["version"] == new.version
    first, second = await _told(world)
    assert f"stays as it was ({before.version})" in first
    assert f"{before.version} became {new.version}" in second


async def test_reading_the_same_policy_again_changes_nothing(world: World) -> None:
    """It is an event all the same."""
    same = world.services.treasury.limits
    assert await _rulebook(world, same).reload()
    assert await _told(world) == ["the policy was read again and is the same as before"]
