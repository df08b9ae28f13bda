"""A daemon that dies anywhere, and the next one over the same database."""

import asyncio
from typing import Any

import pytest

from aleph_agentd.domain.model import VmState
from aleph_agentd.ports import MessageStatus
from support.world import Machine, World


async def _die_during(machine: Machine, method: str, *, effect: bool = False, **request: Any) -> None:
    """Begin a create and end the daemon while it waits in a call, before or after the call's effect."""
    async with machine.life() as world:
        hold = machine.network.hold(method)
        await world.order(key="k1", **request)
        await hold.arrival()
        if effect and method == "post":
            [vm] = await world.rows()
            message = await world.inventory.create_message(vm.item_hash)
            assert message is not None
            await machine.network.post(message)
        await world.services.jobs.drain(0)


async def _recover(world: World) -> None:
    await world.services.provisioner.recover()
    await world.quiet()


async def test_died_between_intent_and_broadcast_with_nobody_asking_nothing_is_broadcast(
    machine: Machine,
) -> None:
    """rules.md 5: a restart broadcasts an open intent only if its request is asked again."""
    await _die_during(machine, "post")
    assert machine.network.posted == []
    async with machine.life() as world:
        await _recover(world)
        assert machine.network.posted == []
        [vm] = await world.rows()
        assert vm.state is VmState.DESTROYING, "its bytes may have left: it is watched until proven unknown"
        machine.clock.forward(minutes=31)
        vm = await world.passes(vm, 3)
        machine.clock.forward(minutes=31)
        vm = await world.passes(vm, 1)
        assert vm.state is VmState.FAILED
        assert await world.money(vm) == (0, 0)


async def test_died_before_the_broadcast_and_asked_again_the_same_bytes_are_sent(machine: Machine) -> None:
    """One VM, under the hash that was promised."""
    await _die_during(machine, "post")
    async with machine.life() as world:
        [vm] = await world.rows()
        await world.services.provisioner.recover()
        await world.services.provisioner.ask_again(vm.create_id)
        await world.quiet()
        assert (await world.row(vm)).state is VmState.RUNNING
        assert machine.network.billed() == [vm.item_hash]


async def test_asked_again_before_the_recovery_came_to_it_is_as_good(machine: Machine) -> None:
    """A shim is faster than a start."""
    await _die_during(machine, "post")
    async with machine.life() as world:
        [vm] = await world.rows()
        await world.services.provisioner.ask_again(vm.create_id)
        await world.services.provisioner.recover()
        await world.quiet()
        assert (await world.row(vm)).state is VmState.RUNNING


async def test_died_after_the_broadcast_the_vm_is_tracked_and_carried_on(machine: Machine) -> None:
    """`kill -9` between broadcast and answer."""
    await _die_during(machine, "post", effect=True)
    async with machine.life() as world:
        await _recover(world)
        [vm] = await world.rows()
        assert vm.state is VmState.RUNNING
        assert machine.network.billed() == [vm.item_hash]


async def test_a_network_that_is_away_after_a_restart_is_no_reason_to_broadcast(machine: Machine) -> None:
    """Trouble says nothing: only a known message is carried on unasked."""
    await _die_during(machine, "post")
    async with machine.life() as world:
        machine.network.fail("status", times=5)
        await _recover(world)
        assert machine.network.posted == []


@pytest.mark.parametrize("method", ["notify", "execution"])
async def test_died_while_the_crn_was_asked_it_is_asked_again(machine: Machine, method: str) -> None:
    """notify is idempotent."""
    await _die_during(machine, method)
    async with machine.life() as world:
        [vm] = await world.rows()
        assert vm.state is VmState.PROVISIONING
        await _recover(world)
        assert (await world.row(vm)).state is VmState.RUNNING


async def test_died_during_the_teardown_it_goes_on_at_once_whatever_its_backoff_said(
    machine: Machine,
) -> None:
    """Recovery does not wait for the next attempt."""
    async with machine.life() as world:
        vm = await world.create()
        machine.network.fail("status", times=10)
        row = await world.end(vm, passes=4)
        assert row.state is VmState.DESTROYING
        assert row.next_attempt_at is not None
        assert row.next_attempt_at > machine.clock.now()
    machine.network.heal()
    async with machine.life() as world:
        await world.services.reaper.recover()
        await world.quiet()
        assert (await world.row(vm)).state is VmState.GONE


async def test_a_lease_that_ended_while_no_daemon_ran_is_reaped_first_thing(machine: Machine) -> None:
    """Promise 2."""
    async with machine.life() as world:
        vm = await world.create()
    machine.clock.forward(hours=5)
    async with machine.life() as world:
        await world.services.reaper.recover()
        await world.quiet()
        assert (await world.row(vm)).state is VmState.GONE
        assert machine.network.billed() == machine.network.running() == []


async def test_a_running_vm_survives_a_restart_untouched(machine: Machine) -> None:
    """Nothing is asked of the network for it."""
    async with machine.life() as world:
        vm = await world.create()
    machine.network.calls.clear()
    async with machine.life() as world:
        await _recover(world)
        await world.services.reaper.recover()
        assert await world.row(vm) == vm
        assert machine.network.calls == []
        assert world.timers.when("next deadline") == vm.expires_at


async def test_a_lease_that_ended_with_its_create_open_is_torn_down_and_never_notified(
    machine: Machine,
) -> None:
    """rules.md 5, after a long night."""
    await _die_during(machine, "notify")
    machine.network.calls.clear()
    machine.clock.forward(days=2)
    async with machine.life() as world:
        await world.services.reaper.recover()
        await _recover(world)
        [vm] = await world.rows()
        assert vm.state is VmState.GONE
        assert machine.network.asked("notify") == []
        assert machine.network.billed() == []


async def test_a_create_that_the_network_rejected_while_we_were_dead_is_watched(machine: Machine) -> None:
    """It may come back to life."""
    await _die_during(machine, "post", effect=True)
    [item_hash] = machine.network.billed()
    machine.network.statuses[item_hash] = MessageStatus.REJECTED
    async with machine.life() as world:
        await _recover(world)
        [vm] = await world.rows()
        assert vm.state is VmState.DESTROYING
        assert vm.unknown_since is not None


@pytest.mark.parametrize("method", ["estimate", "post", "status", "notify", "execution"])
async def test_wherever_it_dies_what_the_network_bills_has_a_live_row(machine: Machine, method: str) -> None:
    """Promise 1, at each call of a create."""
    async with machine.life() as world:
        hold = machine.network.hold(method)
        calling = asyncio.ensure_future(world.create())
        await hold.arrival()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
    async with machine.life() as world:
        live = {vm.item_hash for vm in await world.rows() if vm.billing}
        assert set(machine.network.billed()) <= live
        await _recover(world)
        assert set(machine.network.billed()) == {vm.item_hash for vm in await world.rows(VmState.RUNNING)}
