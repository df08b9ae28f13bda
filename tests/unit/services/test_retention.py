"""Nothing grows without bound, and nothing goes before it is proven to be over."""

from datetime import timedelta

import pytest

from aleph_agentd.domain.model import Vm, VmState
from aleph_agentd.ports import MessageStatus
from aleph_agentd.services import retention
from aleph_agentd.services.retention import MOVEMENTS, TOMBSTONES
from support.fake_network import ADDRESS
from support.inventory import a_vm
from support.world import World

MINUTE = timedelta(minutes=1)


async def gone(world: World, name: str) -> Vm:
    """A VM that has ended, and was looked up once more."""
    vm = await world.create(name=name)
    world.clock.forward(hours=1)
    vm = await world.end(vm)
    world.clock.forward(minutes=6)
    vm = await world.passes(vm)
    assert (vm.state, vm.verified_at is not None) == (VmState.GONE, True)
    return vm


async def run(world: World) -> list[str]:
    """One pass; what it told."""
    await world.services.retention.run()
    await world.quiet()
    return [event.text for event in await world.inventory.events(0, 1000) if event.kind == "retention"]


async def failed(world: World, seed: str) -> Vm:
    """A VM that the network never took, although its bytes may have left."""
    now = world.clock.now()
    facts = {"state": VmState.FAILED, "broadcast_at": now, "ended_at": now, "payer": ADDRESS}
    return await world.inventory.adopt(a_vm(seed, created_at=now, **facts), (), 0, now)


async def test_a_tombstone_goes_after_thirty_days(world: World) -> None:
    """And not before; the event says how many."""
    vm = await gone(world, "box")
    world.clock.forward(seconds=(TOMBSTONES - 7 * MINUTE).total_seconds())
    assert await run(world) == []
    await world.row(vm)
    world.clock.forward(days=1)
    [text] = await run(world)
    assert text.startswith("1 tombstones were removed")
    assert await world.rows() == []
    assert len(await run(world)) == 1


async def test_movements_go_into_sums_after_four_hundred_days(world: World) -> None:
    """Once their row is gone."""
    await gone(world, "box")
    world.clock.forward(seconds=MOVEMENTS.total_seconds() + 60)
    assert [text.split(", ")[1] for text in await run(world)] == ["3 movements of money were summed up"]
    assert [(row.item_hash, row.account) for row in await world.inventory.ledger(10)] == [
        ("summary", "spent")
    ]


@pytest.mark.parametrize(
    ("status", "stays"),
    [
        (MessageStatus.REJECTED, False),
        (MessageStatus.UNKNOWN, False),
        (MessageStatus.FORGOTTEN, False),
        (MessageStatus.PENDING, True),
    ],
)
async def test_bytes_that_may_have_left_are_looked_up_a_last_time(
    world: World, status: MessageStatus, stays: bool
) -> None:
    """Whatever was said of them before."""
    vm = await failed(world, "rejected")
    world.network.statuses[vm.item_hash] = status
    world.clock.forward(days=31)
    await run(world)
    assert (await world.inventory.get(vm.item_hash) is not None) == stays


async def test_what_cannot_be_looked_up_stays_until_it_can(world: World) -> None:
    """Unknown is not gone; and it does not hold up the others."""
    await failed(world, "rejected")
    await gone(world, "box")
    world.clock.forward(days=31)
    world.network.fail("status", 9)
    await run(world)
    assert [vm.name for vm in await world.rows()] == ["vm-rejected"]
    world.network.heal()
    await run(world)
    assert await world.rows() == []


async def test_a_message_that_came_to_life_is_torn_down_and_its_row_kept(world: World) -> None:
    """On the very last day."""
    vm = await failed(world, "risen")
    world.network.stranger(vm.item_hash)
    world.clock.forward(days=31)
    await run(world)
    assert (await world.row(vm)).state is not VmState.FAILED
    assert world.network.billed() == []


async def test_a_pass_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest goes with the next one; last looks are few."""
    monkeypatch.setattr(retention, "BATCH", 2)
    monkeypatch.setattr(retention, "BATCHES", 2)
    monkeypatch.setattr(retention, "_LAST_LOOKS", 1)
    for n in range(3):
        await failed(world, f"failed-{n}")
    for n in range(3):
        await gone(world, f"box-{n}")
    world.clock.forward(days=31)
    left = []
    for _ in range(6):
        await run(world)
        left.append(len(await world.rows()))
    assert left[0] >= 2 and left[-1] == 0


async def test_nothing_goes_while_the_inventory_is_not_to_be_relied_on(world: World) -> None:
    """A row that looks superfluous may be all that is left."""
    await gone(world, "box")
    world.clock.forward(days=31)
    await world.services.restoration.begin("test")
    assert await run(world) == []
    assert len(await world.rows()) == 1
