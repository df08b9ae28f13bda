"""VMs that end when they are idle: early, never late, and never for what is not known."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.domain.activity import INTERVAL_S, MOST_GAP_S
from aleph_agentd.domain.model import Vm, VmState
from aleph_agentd.domain.notices import CAUSES, ENDED_IDLE, Cause
from aleph_agentd.ports import Door, GuestTrouble, Ran
from aleph_agentd.services.idleness import AT_ONCE, OF_SESSION
from aleph_agentd.tools.toolbox import Toolbox
from support.world import ALICE, BOB, Machine, World

MINUTES = 10
LOOKS = MINUTES * 60 // INTERVAL_S
"""After the first one."""


class Watch:
    """A world whose idle VMs are looked at when a test says so."""

    def __init__(self, world: World) -> None:
        self.world, self.at = world, 1000.0
        world.services.idleness.monotonic = lambda: self.at

    async def rent(self, **request: Any) -> Vm:
        """A VM that ends when it is idle."""
        return await self.world.create(**{"name": "box", "idle_minutes": MINUTES, **request})

    async def looks(self, count: int, every_s: float = INTERVAL_S) -> None:
        """So many, one after another."""
        for _ in range(count):
            await self.world.services.idleness.run()
            await self.world.quiet()
            self.at += every_s

    async def state(self, vm: Vm) -> VmState:
        """As it is now."""
        return (await self.world.row(vm)).state


@pytest.fixture
def watch(world: World) -> Watch:
    """Nobody looks by himself."""
    return Watch(world)


async def test_an_idle_vm_is_ended_once_its_time_is_over_and_not_before(watch: Watch) -> None:
    """By the usual teardown, with the reason in row, event, notice and audit log."""
    vm = await watch.rent()
    await watch.looks(LOOKS)
    assert await watch.state(vm) is VmState.RUNNING
    await watch.looks(1)
    row = await watch.world.row(vm)
    assert row.state in (VmState.DESTROYING, VmState.GONE)
    assert row.cause == f"idle for {MINUTES} min: no load, no login, no job"
    events = await watch.world.inventory.events(0, 100)
    assert row.cause in [event.text for event in events if event.kind == "destroying"]
    assert [event.text for event in events if event.kind == ENDED_IDLE] == [f"box: {row.cause}"]
    assert CAUSES[ENDED_IDLE] is Cause.ENDED_IDLE
    deeds = [entry.deed for entry in await watch.world.services.auditor.page(0, 500)]
    assert [(deed.item_hash, deed.text) for deed in deeds if deed.kind == "idle"] == [
        (vm.item_hash, row.cause)
    ]


async def test_one_that_was_not_asked_for_it_is_never_looked_at(watch: Watch) -> None:
    """Nor ended."""
    vm = await watch.rent(idle_minutes=0)
    await watch.looks(LOOKS + 2)
    assert await watch.state(vm) is VmState.RUNNING
    assert watch.world.guests.ran == []


def _says(words: bytes) -> Callable[[Watch], None]:
    def say(watch: Watch) -> None:
        watch.world.guests.says = words

    return say


def _is_lost(watch: Watch) -> None:
    watch.world.guests.lost = GuestTrouble("it did not answer in time")


def _is_another(watch: Watch) -> None:
    for guest in watch.world.guests.vms.values():
        guest.host_key = "ssh-ed25519 OTHER"


@pytest.mark.parametrize(
    "one_look", [_says(b"no sense"), _says(b""), _is_lost, _is_another], ids=["noise", "none", "lost", "key"]
)
async def test_one_look_without_a_plain_answer_begins_the_count_anew(
    watch: Watch, one_look: Callable[[Watch], None]
) -> None:
    """Unknown is not idle."""
    vm = await watch.rent()
    await watch.looks(LOOKS)
    before = [(guest, guest.host_key) for guest in watch.world.guests.vms.values()]
    one_look(watch)
    await watch.looks(1)
    watch.world.guests.says = None
    for guest, key in before:
        guest.host_key = key
    await watch.looks(LOOKS)
    assert await watch.state(vm) is VmState.RUNNING
    await watch.looks(3)
    assert await watch.state(vm) is not VmState.RUNNING


async def test_a_vm_that_never_answers_is_never_ended_and_asked_more_rarely(watch: Watch) -> None:
    """It takes no turns from the others."""
    vm = await watch.rent()
    asked = []

    async def host_key(host: str, port: int) -> str:
        asked.append(host)
        raise GuestTrouble("it did not answer in time")

    watch.world.guests.host_key = host_key  # type: ignore[method-assign]
    await watch.looks(60)
    assert await watch.state(vm) is VmState.RUNNING
    assert 5 < len(asked) < 20


async def test_vms_that_hang_keep_no_other_session_s_waiting(watch: Watch) -> None:
    """One session has a share of the turns, and one that hangs is not asked twice at a time."""
    world = watch.world
    treasury = world.services.treasury
    treasury.limits = replace(treasury.limits, max_concurrent_vms=20)
    hanging = [await watch.rent(name=f"hangs-{n}") for n in range(AT_ONCE + 1)]
    vm = await watch.rent(caller=BOB)
    key = await world.inventory.guest_key(vm.item_hash)
    assert key is not None
    mine = key.private_key
    run, gate, asked = world.guests.run, asyncio.Event(), Counter[str]()

    async def some_hang(door: Door, command: str, timeout_s: float, **more: Any) -> Ran:
        asked[door.private_key] += 1
        if door.private_key != mine:
            await gate.wait()
        return await run(door, command, timeout_s, **more)

    world.guests.run = some_hang  # type: ignore[method-assign]
    for _ in range(LOOKS + 2):
        await world.services.idleness.run()
        look = world.services.jobs.running(f"idle:{vm.item_hash}")
        await asyncio.wait_for(look, 10) if look else None
        watch.at += INTERVAL_S
    assert await watch.state(vm) is not VmState.RUNNING
    del asked[mine]
    assert list(asked.values()) == [1] * OF_SESSION
    world.services.idleness.stop()
    await world.quiet()
    assert {await watch.state(one) for one in hanging} == {VmState.RUNNING}


async def test_a_job_that_runs_keeps_it(watch: Watch) -> None:
    """As aleph_vm_run starts it."""
    vm = await watch.rent()
    arguments = {"item_hash": "box", "command": "sleep 20", "timeout_s": 0}
    await Toolbox(watch.world.services).call("aleph_vm_run", arguments, caller=ALICE)
    await watch.looks(LOOKS + 2)
    assert await watch.state(vm) is VmState.RUNNING
    await watch.world.end(vm)


async def test_time_that_nobody_watched_is_no_idle_time(watch: Watch) -> None:
    """Neither a pause of the daemon, nor a wall clock that leaps."""
    vm = await watch.rent()
    await watch.looks(4, every_s=MOST_GAP_S + 1)
    watch.world.clock.forward(minutes=60)
    await watch.looks(2)
    assert await watch.state(vm) is VmState.RUNNING


async def test_an_extension_begins_the_count_anew(watch: Watch) -> None:
    """Whoever extends it wants it."""
    vm = await watch.rent()
    await watch.looks(LOOKS)
    arguments = {"item_hash": vm.item_hash, "additional_hours": 1}
    await Toolbox(watch.world.services).call("aleph_extend_vm", arguments, caller=ALICE)
    await watch.looks(1)
    assert await watch.state(vm) is VmState.RUNNING


async def test_an_extension_in_the_last_moment_wins(watch: Watch) -> None:
    """The end is ordered for the lease that was seen idle, and no other."""
    vm = await watch.rent()
    order = watch.world.services.teardown.order

    async def extended_before(item_hash: str, cause: str, **more: Any) -> Vm:
        later = vm.expires_at + timedelta(hours=1)
        await watch.world.inventory.extend(
            vm.item_hash, later, 1, lambda _: None, watch.world.clock.now(), "alice"
        )
        return await order(item_hash, cause, **more)

    watch.world.services.teardown.order = extended_before  # type: ignore[method-assign]
    await watch.looks(LOOKS + 1)
    assert await watch.state(vm) is VmState.RUNNING
    assert ENDED_IDLE not in [event.kind for event in await watch.world.inventory.events(0, 100)]


async def test_a_restart_counts_anew(machine: Machine) -> None:
    """Later, never earlier."""
    async with machine.life() as world:
        watch = Watch(world)
        vm = await watch.rent()
        await watch.looks(LOOKS)
    async with machine.life() as world:
        watch = Watch(world)
        await watch.looks(LOOKS)
        assert await watch.state(vm) is VmState.RUNNING
        await watch.looks(1)
        assert await watch.state(vm) is not VmState.RUNNING


async def test_nothing_is_ended_on_rows_that_are_not_to_be_relied_on(watch: Watch) -> None:
    """An inventory that was put back may know an old lease (rules.md 7)."""
    vm = await watch.rent()
    watch.world.services.idleness.spares = lambda: True
    await watch.looks(LOOKS + 2)
    assert await watch.state(vm) is VmState.RUNNING
    assert watch.world.guests.ran == []


async def test_how_long_it_is_idle_is_told(watch: Watch) -> None:
    """In the list, and once SSH answers."""
    await watch.rent()
    await watch.looks(3)
    toolbox = Toolbox(watch.world.services)
    [row] = (await toolbox.call("aleph_list_my_vms", {}, caller=ALICE))["vms"]
    assert row["note"] == f"idle for {2 * INTERVAL_S // 60} min; destroyed at {MINUTES}"
