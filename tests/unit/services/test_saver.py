"""Files that are taken out of VMs before their leases end: early, bounded, and holding up nothing."""

import asyncio
import json
import tarfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.domain.errors import BadInput
from aleph_agentd.domain.model import Vm, VmState
from aleph_agentd.ports import GuestTrouble
from aleph_agentd.services.saver import LEAD, NOT_SAVED, SAVED
from aleph_agentd.tools.toolbox import Toolbox
from support.fake_guests import FakeGuest
from support.world import ALICE, Machine, World

PATHS = ("/root/result", "/root/other")


async def _rent(world: World, paths: tuple[str, ...] = PATHS, **request: Any) -> tuple[Vm, FakeGuest]:
    vm = await world.create(**{"name": "box", "save_paths": "\n".join(paths), **request})
    return vm, world.guests.at(vm.host_ipv4, vm.ssh_port)


async def _near_the_end(world: World, vm: Vm, before: timedelta = timedelta(minutes=1)) -> None:
    """That long before the end of its lease, as it is now."""
    left = (await world.row(vm)).expires_at - world.clock.now() - before
    world.clock.forward(seconds=left.total_seconds())
    await world.services.saver.run()
    await world.quiet()


async def _told(world: World) -> list[tuple[str, str]]:
    events = await world.inventory.events(0, 1000)
    return [(event.kind, event.text) for event in events if event.kind in (SAVED, NOT_SAVED)]


async def _kept(world: World, vm: Vm) -> dict[str, bytes]:
    """Path to content."""
    place = await world.services.saver.place(await world.row(vm))
    if not place:
        return {}
    with tarfile.open(place) as tar:
        files = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    contents = json.loads(files["contents.json"])
    return {about["path"]: files[name] for name, about in contents.items()}


async def test_they_are_taken_early_and_the_end_is_on_time(world: World) -> None:
    """Not before, and once only; the file stays when the VM is gone (rules.md 20)."""
    vm, guest = await _rent(world)
    for path in PATHS:
        guest.files.write(path, path.encode())
    await _near_the_end(world, vm, LEAD + timedelta(seconds=1))
    assert await _told(world) == []
    await _near_the_end(world, vm)
    asked = len(world.guests.ran)
    assert await _kept(world, vm) == {path: path.encode() for path in PATHS}
    size = sum(map(len, PATHS))
    assert await _told(world) == [(SAVED, f"box: 2 of 2 paths were saved, {size} bytes")]
    await _near_the_end(world, vm, timedelta(seconds=10))
    assert len(world.guests.ran) == asked
    world.clock.forward(seconds=10)
    await world.services.reaper.run()
    await world.quiet()
    assert (await world.row(vm)).state is not VmState.RUNNING
    assert len(await _kept(world, vm)) == 2


async def test_a_vm_that_hangs_is_ended_on_time_all_the_same(world: World) -> None:
    """The take that runs is not waited for."""
    vm, _ = await _rent(world)
    left = (vm.expires_at - world.clock.now()).total_seconds()
    world.clock.forward(seconds=left - 0.2)
    world.guests.gate = asyncio.Event()
    await world.services.saver.run()
    world.clock.forward(seconds=0.3)
    await world.services.reaper.run()
    assert (await world.row(vm)).state is VmState.DESTROYING
    await world.quiet()
    assert [kind for kind, _ in await _told(world)] == [NOT_SAVED]
    assert await _kept(world, vm) == {}


async def test_a_vm_that_answers_later_is_asked_again(world: World) -> None:
    """What failed is told once."""
    vm, guest = await _rent(world)
    guest.files.write(PATHS[0], b"1")
    world.guests.lost = GuestTrouble("it did not answer in time")
    await _near_the_end(world, vm)
    assert [kind for kind, _ in await _told(world)] == [NOT_SAVED]
    await _near_the_end(world, vm, timedelta(seconds=30))
    assert [kind for kind, _ in await _told(world)] == [NOT_SAVED, SAVED]
    assert await _kept(world, vm) == {PATHS[0]: b"1"}
    assert "/root/other: the VM has none" in (await world.row(vm)).saved


async def test_a_lease_that_was_extended_is_saved_again_at_its_new_end(world: World) -> None:
    """The newest state is kept."""
    vm, guest = await _rent(world)
    guest.files.write(PATHS[0], b"old")
    await _near_the_end(world, vm)
    later = vm.expires_at + timedelta(hours=1)
    await world.inventory.extend(vm.item_hash, later, 1, lambda _: None, world.clock.now(), "alice")
    guest.files.write(PATHS[0], b"new")
    await _near_the_end(world, vm)
    assert await _kept(world, vm) == {PATHS[0]: b"new"}


async def test_what_is_too_large_is_left_and_the_rest_is_taken(world: World) -> None:
    """Of one VM, and of all together."""
    vm, guest = await _rent(world)
    guest.files.write(PATHS[0], b"x" * 11)
    guest.files.write(PATHS[1], b"x" * 10)
    saver = world.services.saver
    saver.settings = replace(saver.settings, most_bytes=10)
    await _near_the_end(world, vm)
    assert await _kept(world, vm) == {PATHS[1]: b"x" * 10}
    assert "larger than the 10 bytes" in (await world.row(vm)).saved
    other, _ = await _rent(world, name="other", crn=world.network.crn_list[0].name)
    world.guests.at(other.host_ipv4, other.ssh_port).files.write(PATHS[1], b"x")
    saver.settings = replace(saver.settings, folder_bytes=1)
    await _near_the_end(world, other)
    assert "no room" in (await world.row(other)).saved
    assert await _kept(world, other) == {}


async def test_a_vm_that_answers_nonsense_gives_nothing(world: World) -> None:
    """However much of it."""
    vm, _ = await _rent(world)
    world.guests.says = b"\x1b[2J" * 100_000
    await _near_the_end(world, vm)
    [(kind, text)] = await _told(world)
    assert kind == NOT_SAVED
    assert text.isprintable()


async def test_an_agent_s_own_destroy_saves_nothing(world: World) -> None:
    """It has copied what it wanted."""
    vm, guest = await _rent(world)
    guest.files.write(PATHS[0], b"1")
    await world.end(vm)
    await world.services.saver.run()
    await world.quiet()
    assert await _told(world) == []


async def test_an_idle_vm_is_saved_before_it_is_ended(world: World) -> None:
    """And looked at once more after that."""
    vm, guest = await _rent(world, idle_minutes=5)
    guest.files.write(PATHS[0], b"1")
    idleness = world.services.idleness
    for minute in range(0, 8, 2):
        idleness.monotonic = lambda minute=minute: minute * 60.0  # type: ignore[misc]
        await idleness.run()
        await world.quiet()
    assert (await world.row(vm)).state is not VmState.RUNNING
    assert await _kept(world, vm) == {PATHS[0]: b"1"}


async def test_a_life_that_died_in_between_leaves_no_half_file(machine: Machine) -> None:
    """The next one takes them again."""
    async with machine.life() as world:
        vm, guest = await _rent(world)
        guest.files.write(PATHS[0], b"1")
        folder = Path(machine.directory) / "saved"
        folder.mkdir()
        (folder / f".{vm.item_hash}.tar.0123.new").write_bytes(b"half")
    async with machine.life() as world:
        await _near_the_end(world, vm)
        assert await _kept(world, vm) == {PATHS[0]: b"1"}
        assert [file.name for file in folder.iterdir()] == [f"{vm.item_hash}.tar"]


async def test_the_owner_can_forbid_it(world: World) -> None:
    """Then a create that asks for it is refused, and nothing is taken from those there are."""
    vm, _ = await _rent(world)
    world.services.saver.settings = replace(world.services.saver.settings, most_bytes=0)
    await _near_the_end(world, vm)
    assert await _told(world) == []
    arguments = {"name": "new", "save_on_expiry": ["/root/x"]}
    with pytest.raises(BadInput, match="lets nothing be saved"):
        await Toolbox(world.services).call("aleph_create_vm", arguments, caller=ALICE)


async def test_a_create_takes_both_and_keeps_them(world: World) -> None:
    """In its row; the same name with others is another VM."""
    arguments = {"name": "box", "ttl_hours": 1, "idle_minutes": 30, "save_on_expiry": list(PATHS)}
    toolbox = Toolbox(world.services)
    answer = await toolbox.call("aleph_create_vm", arguments, caller=ALICE)
    row = await world.inventory.get(answer["item_hash"])
    assert row is not None
    assert (row.idle_minutes, row.save_paths) == (30, "\n".join(PATHS))
    again = await toolbox.call("aleph_create_vm", arguments, caller=ALICE)
    assert again["item_hash"] == answer["item_hash"]
