"""What the owner does about VMs without a row: adopt, destroy, recover, and a sweep that ends many."""

from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.domain.errors import BadInput, NotFound, Unavailable
from aleph_agentd.domain.model import PublishedEnd, Stamp, VmState
from aleph_agentd.gateway.control_orphans import Orphans
from aleph_agentd.tools.views import alerts
from support.fake_network import ADDRESS, a_crn
from support.world import World
from support.world_fixtures import machine, short_pauses, world

__all__ = ["machine", "short_pauses", "world"]

LOST, OTHER, BARE = "ab" * 32, "cd" * 32, "ef" * 32
HOUR = timedelta(hours=1)


class Nobody:
    """Guards nothing: who may ask is told in test_owner_guard.py."""

    async def check(self, connection: Any, params: Any) -> None:
        """Everybody may."""


async def ask(world: World, method: str, **params: Any) -> dict[str, Any]:
    """Call a method as control.sock would, and wait until what it began is done."""
    handler: Any = Orphans(world.services, Nobody()).methods()[method]
    answer: dict[str, Any] = await handler(None, params)
    await world.quiet()
    return answer


def there(world: World, item_hash: str, hours: float | None = None) -> None:
    """A VM on the first CRN, stamped or not."""
    stamp = (
        None if hours is None else Stamp("elsewhere", "1e" * 16, world.clock.now() + timedelta(hours=hours))
    )
    world.network.stranger(item_hash, stamp=stamp, crn=a_crn(1).hash)
    world.network.pools[a_crn(1).url].add(item_hash)


async def test_an_adopted_orphan_gets_a_lease_of_the_default_length(world: World) -> None:
    """It is a VM like any other from then on."""
    there(world, BARE)
    await ask(world, "sweep.run")
    assert (await ask(world, "orphans.get", item_hash=BARE[:8]))["vm"]["item_hash"] == BARE
    answer = await ask(world, "orphans.adopt", item_hash=BARE[:16])
    row = await world.inventory.get(BARE)
    assert row is not None and row.expires_at == world.clock.now() + 4 * HOUR
    assert (answer["vm"]["item_hash"], answer["vm"]["status"]) == (BARE, "running")
    assert (await ask(world, "orphans.list"))["orphans"] == []


async def test_an_adopted_stranger_keeps_its_own_lease(world: World) -> None:
    """Extensions included; one that is over gets one more, which is published."""
    there(world, OTHER, 9)
    there(world, LOST, 1)
    world.clock.forward(hours=1, minutes=30)
    await ask(world, "sweep.run")
    kept = await ask(world, "orphans.adopt", item_hash=OTHER)
    assert kept["vm"]["expires_in"] == "7 h 30 min"
    await ask(world, "orphans.adopt", item_hash=LOST)
    row = await world.inventory.get(LOST)
    assert row is not None and (row.lease_version, row.expires_at) == (2, world.clock.now() + 4 * HOUR)
    assert await world.services.publisher.published(row)
    assert await world.network.published_ends(ADDRESS) == {LOST: PublishedEnd(1, row.expires_at)}


async def test_a_destroyed_orphan_is_off_the_network_and_in_the_books(world: World) -> None:
    """Nothing of it is left without a trace."""
    there(world, BARE)
    world.clock.forward(hours=1)
    await ask(world, "sweep.run")
    answer = await ask(world, "orphans.destroy", item_hash=BARE)
    assert answer["billing_ended"] is True
    assert (world.network.billed(), world.network.running()) == ([], [])
    row = await world.inventory.get(BARE)
    assert row is not None and row.state is VmState.GONE
    assert (await world.money(row))[1] > 0


async def test_an_orphan_that_names_no_crn_is_forgotten_and_its_end_waited_for(world: World) -> None:
    """Billing ends at once; nobody can be asked to erase it."""
    world.network.stranger(BARE)
    await ask(world, "sweep.run")
    assert (await ask(world, "orphans.destroy", item_hash=BARE))["billing_ended"] is True
    row = await world.inventory.get(BARE)
    assert row is not None and row.state is VmState.DESTROYING
    for _ in range(2):
        world.clock.forward(minutes=6)
        await world.services.teardown.run(BARE)
    assert (await world.row(row)).state is VmState.GONE
    world.clock.forward(minutes=6)
    await world.services.teardown.run(BARE)
    assert (await world.row(row)).verified_at is not None


@pytest.mark.parametrize("wanted", [None, 5, "", "abcdefa"])
async def test_what_is_no_hash_is_refused(world: World, wanted: Any) -> None:
    """At least eight characters of it."""
    for method in ("orphans.get", "orphans.adopt", "orphans.destroy"):
        with pytest.raises(BadInput):
            await ask(world, method, item_hash=wanted)


async def test_only_what_the_last_sweep_found_can_be_named(world: World) -> None:
    """A VM with a row is destroyed as such."""
    vm = await world.create()
    await ask(world, "sweep.run")
    with pytest.raises(NotFound):
        await ask(world, "orphans.destroy", item_hash=vm.item_hash)
    assert (await world.row(vm)).state is VmState.RUNNING


async def test_while_the_network_says_too_little_nothing_is_adopted(world: World) -> None:
    """Neither without its lease nor without its price."""
    there(world, OTHER, 9)
    await ask(world, "sweep.run")
    for call in ("published_ends", "price"):
        world.network.fail(call)
        with pytest.raises(Unavailable):
            await ask(world, "orphans.adopt", item_hash=OTHER)
    assert await world.rows() == []


async def test_an_empty_inventory_beside_stamped_vms_is_offered_a_recovery(world: World) -> None:
    """The alert holds the command; until then they are left to their own daemon."""
    there(world, OTHER, 2)
    world.clock.forward(hours=1)
    await ask(world, "sweep.run")
    assert any("aleph-agentctl recover" in alert for alert in alerts(world.services))
    assert await world.rows() == []


async def test_recovery_restores_fifty_vms_with_their_leases_exactly(world: World) -> None:
    """Of an installation that was lost with its state; a third of them were extended."""
    ends = {}
    for number in range(50):
        item_hash, at = f"{number:02x}" * 32, world.clock.forward(microseconds=1)
        there(world, item_hash, 2 + number)
        ends[item_hash] = at + timedelta(hours=2 + number)
        if number % 3 == 0:
            ends[item_hash] += HOUR
            end = PublishedEnd(1, ends[item_hash])
            await world.network.post(await world.network.sign_extension(item_hash, end, at))
    billed = world.network.billed()
    world.clock.forward(hours=1)
    answer = await ask(world, "recover")
    assert (len(answer["adopted"]), answer["strangers"], answer["waiting"]) == (50, 0, 0)
    assert {vm.item_hash: vm.expires_at for vm in await world.rows()} == ends
    assert world.network.billed() == billed


async def test_into_an_inventory_that_holds_rows_others_are_taken_only_if_asked_for(world: World) -> None:
    """Their own daemon may live: it would extend them without our knowing."""
    await world.create()
    there(world, OTHER, 9)
    world.clock.forward(hours=1)
    answer = await ask(world, "recover")
    assert (answer["adopted"], answer["strangers"]) == ([], 1)
    assert not any("recover" in alert for alert in alerts(world.services))
    answer = await ask(world, "recover", others=True)
    assert [vm["item_hash"] for vm in answer["adopted"]] == [OTHER]


async def test_what_the_network_does_not_tell_enough_of_waits(world: World) -> None:
    """Without its extensions, until when a lease runs is unknown: neither taken in nor somebody else's."""
    there(world, OTHER, 9)
    world.network.fail("published_ends", times=2)
    answer = await ask(world, "recover")
    assert (answer["adopted"], answer["waiting"], answer["strangers"]) == ([], 1, 0)
    assert [vm["item_hash"] for vm in (await ask(world, "recover"))["adopted"]] == [OTHER]


async def test_without_a_listing_nothing_is_said_to_be_recovered(world: World) -> None:
    """Unknown is never "none"."""
    world.network.fail("instances")
    with pytest.raises(Unavailable):
        await ask(world, "recover")


async def test_a_halted_sweep_is_an_alert_until_a_human_decides(world: World) -> None:
    """The alert holds the command."""
    for number in range(6):
        there(world, f"{number:02x}" * 32, 1)
    await world.create()
    world.clock.forward(hours=2)
    assert "6 of 7" in (await ask(world, "sweep.run"))["sweep"]["halted"]
    assert any("--sweep --anyway" in alert for alert in alerts(world.services))
    assert len(world.network.billed()) == 7
    assert (await ask(world, "sweep.run", anyway=True))["sweep"]["halted"] == ""
    assert len(world.network.billed()) == 1
