"""Comparing the network with the inventory, and what is told of it."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from aleph_agentd.domain.model import Stamp, VmState
from aleph_agentd.services import sweeper
from support.world import World


async def test_a_sweep_of_what_is_known_finds_nothing(world: World) -> None:
    """And changes nothing."""
    vm = await world.create()
    world.clock.forward(hours=1)
    await world.services.sweeper.run()
    findings = world.services.sweeper.findings
    assert (findings.orphans, findings.strangers, findings.stale, findings.undead) == ((), (), (), ())
    assert (findings.trouble, findings.listed) == ("", 1)
    assert await world.row(vm) == vm


async def test_orphans_and_strangers_are_reported_and_left_alone(world: World) -> None:
    """A human adopts or destroys them."""
    world.network.stranger("ab" * 32)
    ends_at = world.clock.now() + timedelta(hours=1)
    world.network.stranger("cd" * 32, stamp=Stamp("elsewhere", "lease", ends_at))
    world.network.stranger("ef" * 32, sender="0xSomebodyElse")
    world.clock.forward(hours=1)
    await world.services.sweeper.run()
    findings = world.services.sweeper.findings
    assert [item.item_hash for item in findings.orphans] == ["ab" * 32]
    assert [item.item_hash for item in findings.strangers] == ["cd" * 32]
    assert len(world.network.billed()) == 3
    assert world.network.posted == []


async def test_an_orphan_is_recorded_once_however_often_it_is_seen(world: World) -> None:
    """Also over a sweep that could not see."""
    world.network.stranger("ab" * 32)
    world.clock.forward(hours=1)
    await world.services.sweeper.run()
    world.network.fail("instances")
    await world.services.sweeper.run()
    await world.services.sweeper.run()
    events = await world.inventory.events(0, 100)
    assert [event.kind for event in events] == ["orphan"]


async def test_a_listing_that_failed_says_so_and_keeps_what_was_seen(world: World) -> None:
    """Unknown is never zero: an orphan that was seen still counts against the limits."""
    world.network.stranger("ab" * 32)
    world.clock.forward(hours=1)
    await world.services.sweeper.run()
    world.network.fail("instances")
    await world.services.sweeper.run()
    findings = world.services.sweeper.findings
    assert "could not be listed" in findings.trouble
    assert len(findings.orphans) == findings.others_live == 1
    await world.services.sweeper.run()
    assert world.services.sweeper.findings.trouble == ""


async def test_an_empty_listing_while_we_hold_a_vm_is_trouble(world: World) -> None:
    """The VM is not called stale, nor gone."""
    vm = await world.create()
    listed, world.network.statuses = world.network.statuses, {}
    world.network.messages.clear()
    world.clock.forward(hours=1)
    await world.services.sweeper.run()
    assert listed
    assert "listed nothing" in world.services.sweeper.findings.trouble
    assert (await world.row(vm)).state is VmState.RUNNING


async def test_a_tombstone_on_the_network_is_recorded_once(world: World) -> None:
    """However often it is seen."""
    vm = await world.create()
    await world.end(vm)
    world.network.statuses[vm.item_hash] = world.network.next_instance
    world.clock.forward(hours=1)
    await world.services.sweeper.run()
    assert [undead.item_hash for undead in world.services.sweeper.findings.undead] == [vm.item_hash]
    await world.services.sweeper.run()
    assert [event.kind for event in await world.inventory.events(0, 100)].count("undead") == 1


async def test_without_a_key_there_is_nothing_to_compare(world: World) -> None:
    """And it is said."""
    world.network.key_trouble = "no key file"
    await world.services.sweeper.run()
    assert "no key file" in world.services.sweeper.findings.trouble


async def test_the_network_is_listed_before_the_inventory(world: World) -> None:
    """A VM created in between is known by then: no false orphan."""
    hold = world.network.hold("instances")
    sweeping = asyncio.ensure_future(world.services.sweeper.run())
    await hold.arrival()
    await world.create()
    world.clock.forward(hours=1)
    hold.go.set()
    await sweeping
    assert world.services.sweeper.findings.orphans == ()


async def test_two_sweeps_at_once_are_one(world: World) -> None:
    """They share the listing."""
    hold = world.network.hold("instances")
    both = asyncio.gather(world.services.sweeper.run(), world.services.sweeper.run())
    await hold.arrival()
    hold.go.set()
    await both
    assert len(world.network.asked("instances")) == 1


async def test_a_session_s_first_call_sweeps_once(world: World) -> None:
    """The mission: orphan detection on the first balance check of a session."""
    assert await world.services.sweeper.first_look("alice") == []
    assert await world.services.sweeper.first_look("alice") == []
    assert len(world.network.asked("instances")) == 1
    world.network.fail("instances")
    [warning] = await world.services.sweeper.first_look("bob")
    assert "could not be listed" in warning


async def test_a_sweep_looks_at_every_row_however_many_it_reads_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also at the one behind the last page, and at a tombstone that is listed."""
    monkeypatch.setattr(sweeper, "_ROWS_AT_ONCE", 2)
    world.services.treasury.limits = replace(world.services.treasury.limits, max_concurrent_vms=10)
    made = [await world.create(name=f"vm-{n}") for n in range(5)]
    ended = await world.create(name="ended")
    await world.end(ended)
    world.network.statuses[ended.item_hash] = world.network.next_instance
    for vm in (made[0], made[4]):
        del world.network.statuses[vm.item_hash], world.network.messages[vm.item_hash]
    world.clock.forward(hours=1)
    await world.services.sweeper.run()
    findings = world.services.sweeper.findings
    assert {vm.item_hash for vm in findings.stale} == {made[0].item_hash, made[4].item_hash}
    assert [vm.item_hash for vm in findings.undead] == [ended.item_hash]
    assert (findings.orphans, findings.lost, findings.listed) == ((), (), 4)
