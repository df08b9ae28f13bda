"""What a sweep does: rows for our own, an end for the undead and the abandoned, flags for the unknown."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from aleph_agentd.domain.model import PublishedEnd, Stamp, Vm, VmState
from aleph_agentd.ports import MessageStatus
from support.fake_network import a_crn
from support.world import ALICE, HOME, Machine, World

HOUR = timedelta(hours=1)
LOST, OTHER = "ab" * 32, "cd" * 32


async def sweep(world: World, times: int = 1) -> Any:
    """Sweep, and wait until what it began is done; the last findings."""
    for _ in range(times):
        await world.services.sweeper.run()
        await world.quiet()
    return world.services.sweeper.findings


def stamped(world: World, item_hash: str, hours: float, *, by: str = HOME, **content: Any) -> None:
    """An INSTANCE of an installation, which runs on the first CRN; its lease is this long."""
    crn = a_crn(1)
    stamp = Stamp(by, "1e" * 16, world.clock.now() + timedelta(hours=hours))
    world.network.stranger(item_hash, stamp=stamp, **({"crn": crn.hash, "rootfs": "c" * 64} | content))
    world.network.pools[crn.url].add(item_hash)


async def publish(world: World, item_hash: str, n: int, hours: float) -> datetime:
    """An extension, as an earlier life of the daemon published it; the new end."""
    now = world.clock.forward(microseconds=1)  # each is dated later than the one before
    end = PublishedEnd(n, now + timedelta(hours=hours))
    await world.network.post(await world.network.sign_extension(item_hash, end, now))
    return end.expires_at


async def the_row(world: World, item_hash: str) -> Vm:
    """The row of this VM."""
    row = await world.inventory.get(item_hash)
    assert row is not None
    return row


# ------------------------------------------------------------------ our own, without a row


async def test_a_row_that_was_lost_is_rebuilt_from_the_stamp(world: World) -> None:
    """Lease, size, image, host, address, money and kill switches."""
    began = world.clock.now()
    stamped(world, LOST, 4, vcpus=2, memory=4096)
    world.clock.forward(hours=1)
    findings = await sweep(world)
    vm = await the_row(world, LOST)
    assert (vm.state, vm.expires_at, vm.lease_id) == (VmState.RUNNING, began + 4 * HOUR, "1e" * 16)
    assert (vm.compute_units, vm.vcpus, vm.memory_mib, vm.os_image) == (2, 2, 4096, "debian12")
    assert (vm.crn_name, vm.crn_url, vm.host_ipv4) == ("crn-1", a_crn(1).url, "203.0.113.7")
    assert (vm.created_at, vm.broadcast_at) == (began, began)
    assert vm.rate == world.network.cu_rate * 2
    assert (await world.money(vm))[0] >= vm.cost_units(vm.expires_at)
    assert await world.inventory.next_forget(LOST) is not None
    assert (findings.lost, findings.orphans) == ((), ())
    assert [row.item_hash for row in findings.adopted] == [LOST]
    assert world.network.posted == []


async def test_the_newest_extension_is_the_end_of_a_rebuilt_lease(world: World) -> None:
    """And it is not published a second time."""
    stamped(world, LOST, 1)
    await publish(world, LOST, 1, 3)
    ends_at = await publish(world, LOST, 2, 5)
    world.clock.forward(minutes=5)
    await sweep(world)
    vm = await the_row(world, LOST)
    assert (vm.lease_version, vm.expires_at) == (3, ends_at)
    posted = len(world.network.posted)
    assert await world.services.publisher.published(vm)
    assert len(world.network.posted) == posted


async def test_a_rebuilt_lease_that_is_over_is_reaped(world: World) -> None:
    """However many: an expired lease is not a sweep's to limit."""
    for number in range(8):
        stamped(world, f"{number:02x}" * 32, 1)
    world.clock.forward(hours=1)
    assert len((await sweep(world)).adopted) == 8
    await world.services.reaper.run()
    await world.quiet()
    assert {vm.state for vm in await world.rows()} == {VmState.GONE}
    assert (world.network.billed(), world.network.running()) == ([], [])


async def test_while_the_extensions_cannot_be_read_nothing_is_reaped_by_its_stamp_for_an_hour(
    world: World,
) -> None:
    """It still counts against the limits, and is taken in as soon as its end is known."""
    stamped_end = world.clock.now() + HOUR
    stamped(world, LOST, 1)
    await publish(world, LOST, 1, 9)
    world.clock.forward(hours=1, minutes=59)
    world.network.fail("published_ends")
    findings = await sweep(world)
    assert [item.item_hash for item in findings.lost] == [LOST] and findings.others_live == 1
    assert await world.rows() == []
    world.network.fail("published_ends")
    world.clock.forward(minutes=1)
    await sweep(world)
    assert (await the_row(world, LOST)).expires_at == stamped_end


async def test_without_a_price_a_row_waits_and_the_others_do_not(world: World) -> None:
    """The next sweep takes it in."""
    stamped(world, LOST, 4)
    stamped(world, OTHER, 4)
    world.network.fail("price")
    assert len((await sweep(world)).lost) == 1
    assert len((await sweep(world)).lost) == 0
    assert len(await world.rows()) == 2


async def test_a_daemon_whose_database_was_lost_goes_on_with_every_vm(machine: Machine) -> None:
    """The same leases, from the network alone."""
    async with machine.life(max_concurrent_vms=50, balance_guard_percent=100) as world:
        before = {vm.item_hash: vm for vm in [await world.create(name=f"box-{n}") for n in range(5)]}
        extended = await world.services.extender.extend(next(iter(before.values())), 2, ALICE)
        assert await world.services.publisher.published(extended)
        before[extended.item_hash] = extended
    (machine.directory / "inventory.db").unlink()
    async with machine.life() as world:
        await sweep(world)
        after = {vm.item_hash: vm for vm in await world.rows()}
        assert after.keys() == before.keys()
        for item_hash, vm in after.items():
            old = before[item_hash]
            for fact in (
                "expires_at",
                "lease_id",
                "lease_version",
                "rate",
                "crn_url",
                "host_ipv4",
            ):
                assert getattr(vm, fact) == getattr(old, fact), fact


# ------------------------------------------------------------------ another installation's


async def test_another_installation_s_vm_is_left_alone_until_an_hour_past_its_lease(world: World) -> None:
    """Extensions included."""
    stamped(world, OTHER, 1, by="elsewhere")
    await publish(world, OTHER, 1, 2)
    world.clock.forward(hours=2, minutes=59)
    findings = await sweep(world)
    assert [item.item_hash for item in findings.strangers] == [OTHER]
    assert (await world.rows(), world.network.billed()) == ([], [OTHER])
    world.clock.forward(minutes=1)
    assert (await sweep(world)).strangers == ()
    assert (world.network.billed(), world.network.running()) == ([], [])
    assert (await the_row(world, OTHER)).state is VmState.GONE


async def test_an_unstamped_vm_is_never_touched(world: World) -> None:
    """Not after days either."""
    world.network.stranger(OTHER)
    world.clock.forward(days=30)
    assert [item.item_hash for item in (await sweep(world, 4)).orphans] == [OTHER]
    assert (await world.rows(), world.network.posted) == ([], [])


# ------------------------------------------------------------------ tombstones


async def gone(world: World, name: str = "box") -> Vm:
    """A VM that has ended, and that the network lists as alive all the same."""
    vm = await world.create(name=name)
    assert (await world.end(vm)).state is VmState.GONE
    world.network.statuses[vm.item_hash] = MessageStatus.PROCESSED
    return vm


async def test_a_tombstone_that_lives_is_torn_down_again_and_paid_for(world: World) -> None:
    """By the next kill switch: the first one has had its effect."""
    vm = await gone(world)
    spent = (await world.money(vm))[1]
    world.clock.forward(hours=1)
    await sweep(world)
    assert (await the_row(world, vm.item_hash)).state is VmState.DESTROYING
    row = await world.passes(vm)
    assert (row.state, row.verified_at) == (VmState.GONE, None)
    assert world.network.billed() == []
    assert (await world.money(vm))[1] > spent
    assert (await world.money(vm))[1] == row.cost_units(world.clock.now())


async def test_a_listing_that_is_behind_revives_nothing(world: World) -> None:
    """Only `/status` decides."""
    vm = await gone(world)

    async def settle(_: str) -> None:
        world.network.statuses[vm.item_hash] = MessageStatus.FORGOTTEN

    world.network.before("status", settle)
    world.clock.forward(hours=1)
    await sweep(world)
    assert (await the_row(world, vm.item_hash)).state is VmState.GONE


async def test_a_rejected_create_that_comes_to_life_is_ended(world: World) -> None:
    """The bytes are public: another node took them, and the listing does not show it yet (rules.md 2)."""
    vm = await world.create()
    world.network.statuses[vm.item_hash] = MessageStatus.REJECTED
    await world.services.teardown.order(vm.item_hash, "the network rejected it")
    await world.passes(vm)
    world.clock.forward(minutes=31)
    assert (await world.passes(vm)).state is VmState.FAILED

    async def hidden(_: str) -> None:
        world.network.statuses[vm.item_hash] = MessageStatus.REJECTED

    async def shown(_: str) -> None:
        world.network.statuses[vm.item_hash] = MessageStatus.PROCESSED

    world.network.before("instances", hidden)
    world.network.before("published_ends", hidden)
    await sweep(world)
    assert (await the_row(world, vm.item_hash)).verified_at == world.clock.now()
    world.network.before("status", shown)
    await sweep(world)
    assert (await the_row(world, vm.item_hash)).state is VmState.DESTROYING


async def test_a_sweep_asks_after_few_tombstones_and_not_after_old_ones(world: World) -> None:
    """The cost of a sweep is bounded."""
    for number in range(8):
        vm = await world.create(name=f"box-{number}")
        await world.services.teardown.order(vm.item_hash, "test")
        await world.inventory.settle(
            vm.item_hash, "unknown", world.clock.now(), to=VmState.FAILED, ended_at=world.clock.now()
        )
        world.network.statuses[vm.item_hash] = MessageStatus.UNKNOWN
    for count in (5, 10):
        world.network.calls.clear()
        await sweep(world)
        assert len(world.network.asked("status")) == 5, count
    world.network.calls.clear()
    world.clock.forward(days=31)
    await sweep(world)
    assert world.network.asked("status") == []


# ------------------------------------------------------------------ too many at once


async def test_a_sweep_that_would_end_too_many_ends_none_and_says_so(world: World) -> None:
    """Until a human has decided."""
    vms = [await gone(world, f"box-{number}") for number in range(3)]
    world.clock.forward(hours=1)
    findings = await sweep(world, 3)
    assert "3 of 3 VMs" in findings.halted
    assert "a sweep was stopped" in world.services.freezes.standing[0].reason, "a sign of trouble"
    assert {vm.state for vm in await world.rows()} == {VmState.GONE}
    assert len(world.network.billed()) == 3
    await world.services.sweeper.run_anyway()
    await world.quiet()
    assert world.services.sweeper.findings.halted == ""
    for vm in vms:
        await world.passes(vm, 3)
    assert world.network.billed() == []


# ------------------------------------------------------------------ rows that the network does not list


async def unlisted(world: World, status: MessageStatus) -> Vm:
    """A running VM, among others, of which the network says this."""
    await world.create(name="other")
    vm = await world.create(name="box", ttl_hours=20)
    world.network.statuses[vm.item_hash] = status
    world.clock.forward(hours=1)
    return vm


async def test_an_unknown_row_is_flagged_after_three_looks_and_never_closed(world: World) -> None:
    """A 404 is no proof; when the network knows it again, the flag goes."""
    vm = await unlisted(world, MessageStatus.UNKNOWN)
    await sweep(world, 2)
    assert (await world.row(vm)).warned == ""
    await sweep(world, 4)
    assert ((await world.row(vm)).warned, (await world.row(vm)).state) == ("stale", VmState.RUNNING)
    assert [event.kind for event in await world.inventory.events(0, 100)].count("stale") == 1
    world.network.statuses[vm.item_hash] = MessageStatus.PROCESSED
    await sweep(world)
    assert (await world.row(vm)).warned == ""


@pytest.mark.parametrize("status", [MessageStatus.FORGOTTEN, MessageStatus.REMOVED])
async def test_a_row_that_the_network_forgot_is_settled_after_three_looks(
    world: World, status: MessageStatus
) -> None:
    """Somebody else ended it: money and slot are free, and its CRN is asked to erase it."""
    vm = await unlisted(world, status)
    await sweep(world, 2)
    assert (await world.row(vm)).state is VmState.RUNNING
    await sweep(world)
    assert (await world.row(vm)).state is VmState.GONE
    assert (await world.money(vm))[0] == 0
    assert vm.item_hash not in world.network.running()


async def test_looks_that_do_not_agree_or_cannot_see_count_for_nothing(world: World) -> None:
    """Three in a row, the same, or none."""
    vm = await unlisted(world, MessageStatus.UNKNOWN)
    await sweep(world, 2)
    world.network.statuses[vm.item_hash] = MessageStatus.FORGOTTEN
    await sweep(world, 2)
    world.network.fail("status")
    world.network.statuses[vm.item_hash] = MessageStatus.UNKNOWN
    await sweep(world, 3)
    row = await world.row(vm)
    assert (row.state, row.warned) == (VmState.RUNNING, "")
