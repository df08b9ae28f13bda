"""What a VM left open is closed when it has ended: later, never instead of its end."""

from typing import Any

import pytest

from aleph_agentd.domain.forwards import Change, Protocols
from aleph_agentd.domain.model import Vm, VmState
from aleph_agentd.services.port_closer import MOST_TRIES
from support.world import Machine, World

TCP = Protocols(tcp=True)


async def _opened(world: World, name: str = "box") -> Vm:
    vm = await world.create(name=name)
    await world.services.forwarding.change(vm, Change(opens=True, port=80, protocol="tcp"))
    return vm


async def _left(world: World, vm: Vm) -> Any:
    return (await world.network.forwards(vm.payer)).get(vm.item_hash)


async def _run(world: World, times: int = 1, seconds: float = 60) -> None:
    for _ in range(times):
        await world.services.port_closer.run()
        world.clock.forward(seconds=seconds)


async def test_what_ended_is_taken_out_and_what_runs_stays(world: World) -> None:
    """One VM's entry, once."""
    ends, stays = await _opened(world), await _opened(world, "other")
    await world.end(ends)
    await _run(world, 3)
    assert (await _left(world, ends), await _left(world, stays)) == (None, {80: TCP})
    assert (await world.row(ends)).state is VmState.GONE


async def test_the_end_of_a_vm_does_not_wait_for_it(world: World) -> None:
    """Nothing of a teardown asks about ports, and a network that fails here fails nothing else."""
    vm = await _opened(world)
    asked = len(world.network.asked("forwards"))
    await world.end(vm)
    assert (await world.row(vm)).state is VmState.GONE
    assert len(world.network.asked("forwards")) == asked
    assert await _left(world, vm) == {80: TCP}


async def test_it_goes_on_after_a_restart(machine: Machine) -> None:
    """The network remembers what is left to do."""
    async with machine.life() as world:
        vm = await _opened(world)
        await world.end(vm)
    async with machine.life() as world:
        await _run(world, 2)
        assert await _left(world, vm) is None


async def test_a_failure_is_tried_again_after_longer_and_longer_times_and_not_for_ever(world: World) -> None:
    """Then a line in the log says what stays."""
    vm = await _opened(world)
    await world.end(vm)
    posts = len(world.network.asked("post"))
    world.network.fail("post", times=1000)
    await _run(world, 5)
    assert len(world.network.asked("post")) - posts == 4
    await _run(world, 60, seconds=3600)
    assert len(world.network.asked("post")) - posts == MOST_TRIES
    assert await _left(world, vm) == {80: TCP}


@pytest.mark.parametrize("method", ["forwards", "post"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_one_failure_is_made_good(world: World, method: str, when: Any) -> None:
    """Wherever it is."""
    vm = await _opened(world)
    await world.end(vm)
    world.network.fail(method, when=when)
    await _run(world, 4)
    assert await _left(world, vm) is None


async def test_while_nothing_ends_the_network_is_asked_once_an_hour(world: World) -> None:
    """At the start, and to find what arrived late."""
    vm = await _opened(world)
    before = len(world.network.asked("forwards"))
    await _run(world, 30)
    assert len(world.network.asked("forwards")) - before == 1
    await world.end(vm)
    await _run(world, 3)
    late = await world.network.sign_ports(vm.item_hash, vm.payer, {81: TCP}, world.clock.now())
    await world.network.post(late)
    await _run(world, 65)
    assert await _left(world, vm) is None


async def test_what_is_not_ours_is_left_alone(world: World) -> None:
    """The payer's own VMs, and those of another payer."""
    vm = await _opened(world)
    stranger = "ab" * 32
    message = await world.network.sign_ports(stranger, vm.payer, {80: TCP}, world.clock.now())
    await world.network.post(message)
    await world.end(vm)
    await _run(world, 3)
    assert (await world.network.forwards(vm.payer)) == {stranger: {80: TCP}}


async def test_without_a_key_it_waits(world: World) -> None:
    """And goes on when there is one, however long that took."""
    vm = await _opened(world)
    await world.end(vm)
    world.network.key_trouble = "no passphrase"
    await _run(world, 2 * MOST_TRIES)
    world.network.key_trouble = ""
    await _run(world)
    assert await _left(world, vm) is None
