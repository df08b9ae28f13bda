"""An inventory that cannot be written: creates and extends are refused, and VMs end all the same."""

from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.adapters.store import SqlInventory
from aleph_agentd.domain.errors import Refusal, Unavailable
from aleph_agentd.domain.freezes import FreezeKind
from aleph_agentd.domain.model import VmState
from aleph_agentd.ports import MessageStatus, StoreFull
from aleph_agentd.services import kill_switches, panic
from aleph_agentd.tools.toolbox import Toolbox
from aleph_agentd.tools.views import alerts
from support.world import ALICE, World, until


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The looks at whether a kill switch took effect follow each other at once."""
    monkeypatch.setattr(kill_switches, "PAUSES_S", (0, 0))


@pytest.fixture
def disk(world: World, monkeypatch: pytest.MonkeyPatch) -> "Disk":
    """The disk under the inventory."""
    return Disk(world.inventory, monkeypatch)


class Disk:
    """Lets every write fail as on a full disk, and lets it succeed again."""

    def __init__(self, inventory: SqlInventory, patch: pytest.MonkeyPatch) -> None:
        self._inventory, self._patch = inventory, patch
        self._transact = inventory._transact

    def fill(self) -> None:
        """No room: what would write is rolled back with StoreFull."""

        async def transact(work, *, writes=True):
            if writes:
                self._inventory.trouble = "no room on the disk"
                raise StoreFull("no room on the disk")
            return await self._transact(work, writes=False)

        self._patch.setattr(self._inventory, "_transact", transact)

    def empty(self) -> None:
        """Room again."""
        self._patch.setattr(self._inventory, "_transact", self._transact)


async def test_a_create_on_a_full_disk_is_refused_with_what_to_do(world: World, disk: Disk) -> None:
    """Nothing is signed away: no message leaves."""
    disk.fill()
    toolbox = Toolbox(world.services)
    with pytest.raises(Unavailable) as refused:
        await toolbox.call("aleph_create_vm", {"name": "box", "ttl_hours": 1}, caller=ALICE)
    assert refused.value.code == "store_full"
    assert "room" in refused.value.hint
    assert world.network.posted == []


async def test_an_extend_on_a_full_disk_is_refused_and_the_lease_stays(world: World, disk: Disk) -> None:
    """And every answer says why, until there is room again."""
    vm = await world.create()
    disk.fill()
    toolbox = Toolbox(world.services)
    with pytest.raises(Unavailable) as refused:
        await toolbox.call("aleph_extend_vm", {"item_hash": vm.name, "additional_hours": 1}, caller=ALICE)
    assert refused.value.code == "store_full"
    assert (await world.row(vm)).expires_at == vm.expires_at
    assert any("cannot be written" in alert for alert in alerts(world.services))
    disk.empty()
    await toolbox.call("aleph_extend_vm", {"item_hash": vm.name, "additional_hours": 1}, caller=ALICE)
    assert not any("cannot be written" in alert for alert in alerts(world.services))


async def test_a_vm_is_destroyed_on_a_full_disk_and_its_row_follows_when_there_is_room(
    world: World, disk: Disk
) -> None:
    """Billing ends when the network says so, and is booked for that instant."""
    vm = await world.create()
    disk.fill()
    answer = await Toolbox(world.services).call("aleph_destroy_vm", {"item_hash": vm.name}, caller=ALICE)
    assert answer["billing_ended"]
    assert world.network.billed() == []
    assert world.network.running() == []
    ended_at = world.clock.now()
    assert (await world.row(vm)).state is VmState.RUNNING
    world.clock.forward(minutes=30)
    disk.empty()
    await world.services.reaper.run()
    await world.quiet()
    row = await world.row(vm)
    assert (row.state, row.forgotten_at) == (VmState.GONE, ended_at)
    assert await world.money(vm) == (0, row.cost_units(world.clock.now()))


async def test_a_lease_that_ends_on_a_full_disk_ends_its_vm(world: World, disk: Disk) -> None:
    """The reaper does not stop at the first row that it cannot write."""
    boxes = [await world.create(name=name) for name in ("one", "two")]
    disk.fill()
    world.clock.forward(hours=5)
    await world.services.reaper.run()
    await world.quiet()
    assert world.network.billed() == []
    disk.empty()
    await world.services.reaper.run()
    await world.quiet()
    assert {(await world.row(vm)).state for vm in boxes} == {VmState.GONE}


async def test_a_burnt_kill_switch_does_not_hold_up_the_end_on_a_full_disk(world: World, disk: Disk) -> None:
    """That it is burnt cannot be written: the next one is posted in the same pass."""
    vm = await world.create()
    (first, second, *_) = await world.inventory.forgets(vm.item_hash)
    world.network.statuses[vm.item_hash] = MessageStatus.UNKNOWN
    await world.network.post(first)
    world.network.statuses[vm.item_hash] = MessageStatus.PROCESSED
    disk.fill()
    await world.services.teardown.order(vm.item_hash, "the test ends it")
    await world.services.teardown.run(vm.item_hash)
    assert world.network.billed() == []
    assert world.network.statuses[second.item_hash] is MessageStatus.PROCESSED


async def test_an_end_begun_before_the_disk_was_full_goes_on(world: World, disk: Disk) -> None:
    """Also after a first failure of the network; tried again after a while, not at once."""
    vm = await world.create()
    await world.services.teardown.order(vm.item_hash, "the test ends it")
    disk.fill()
    world.network.fail("post")
    await world.services.teardown.run(vm.item_hash)
    assert world.network.billed() == [vm.item_hash]
    asked = len(world.network.calls)
    await world.services.teardown.run(vm.item_hash)
    assert len(world.network.calls) == asked
    world.clock.forward(seconds=timedelta(minutes=1).total_seconds())
    await world.services.teardown.run(vm.item_hash)
    assert world.network.billed() == []
    disk.empty()
    await world.passes(vm, 2)
    assert (await world.row(vm)).state is VmState.GONE


async def test_an_extended_lease_is_not_ended_by_an_order_that_came_too_late(
    world: World, disk: Disk
) -> None:
    """The order was for a lease that has another version by now."""
    vm = await world.create()
    extended = await world.services.extender.extend(vm, 1, ALICE)
    disk.fill()
    row = await world.services.teardown.order(vm.item_hash, "its lease ended", lease_version=1)
    assert row == extended
    assert world.network.billed() == [vm.item_hash]


async def test_a_panic_on_a_full_disk_ends_everything_and_is_written_down_later(
    world: World, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The button works when nothing else does; done is said once the rows say so too."""
    monkeypatch.setattr(panic, "_PAUSE_S", 0.001)
    await world.create(name="one")
    await world.create(name="two")
    disk.fill()
    await world.services.panic.begin("the owner")
    await until(lambda: world.network.billed() == [])
    await until(lambda: (p := world.services.panic.progress) and p.trouble)
    assert world.services.panic.progress and not world.services.panic.progress.done
    with pytest.raises(Refusal) as refused:
        await world.create(name="three")
    assert refused.value.code == "frozen"
    disk.empty()
    await until(lambda: (p := world.services.panic.progress) and p.done)
    assert [freeze.kind for freeze in await world.inventory.freezes()] == [FreezeKind.PANIC]
    assert world.services.freezes.standing == await world.inventory.freezes()


async def test_an_unwritten_panic_can_be_lifted(
    world: World, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was in memory only, and is gone from there."""
    monkeypatch.setattr(panic, "_PAUSE_S", 0.001)
    world.network.fail("instances", times=1000)
    disk.fill()
    await world.services.panic.begin("the owner")
    await until(lambda: world.services.panic.progress is not None)
    disk.empty()
    await world.services.freezes.lift("the owner")
    await world.quiet()
    assert not world.services.freezes.panics()
    assert await world.inventory.freezes() == ()


async def test_a_panic_that_is_said_while_freezes_are_lifted_stands(
    world: World, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not be written, and what is read back from the inventory does not tell of it."""
    freezes = world.services.freezes
    await freezes.freeze("a smell", "the owner")
    read = world.inventory.freezes

    async def meanwhile() -> Any:
        written = await read()
        disk.fill()
        await freezes.panic("the owner")
        return written

    monkeypatch.setattr(world.inventory, "freezes", meanwhile)
    await freezes.lift("the owner")
    assert freezes.panics()
