"""Running VMs are looked at: what is flagged, what is told, what is never ended for it."""

from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.domain.model import Vm, VmState
from aleph_agentd.ports import MessageStatus
from aleph_agentd.services import health
from aleph_agentd.services.health import Health, HealthSettings
from support.world import World

PATIENCE = timedelta(minutes=30)


class Ward:
    """A world, its health, and VMs whose SSH a test turns off."""

    def __init__(self, world: World, *, teardown: bool = False) -> None:
        self.world, self.silent = world, set[int]()
        network = world.network
        services = world.services
        self.health = Health(
            world.inventory,
            network,
            network,
            network,
            world.clock,
            services.teardown,
            HealthSettings(PATIENCE, teardown),
        )

        async def ssh_answers(host: str, port: int) -> bool:
            network.calls.append(("ssh_answers", f"{host}:{port}"))
            return port not in self.silent

        network.ssh_answers = ssh_answers  # type: ignore[method-assign]

    async def rent(self, count: int, **request: Any) -> list[Vm]:
        """Running VMs, all on one CRN unless the test says otherwise."""
        crn = self.world.network.crn_list[0].name
        for number in range(count):
            await self.world.create(name=f"vm-{number}", **{"crn": crn, **request})
        await self.health.run()  # the fake CRN gives ports by place in its list: follow them
        return await self.world.rows(VmState.RUNNING)

    async def passes(self, count: int = 1, minutes: float = 1) -> None:
        """Looks, a minute apart."""
        for _ in range(count):
            self.world.clock.forward(minutes=minutes)
            await self.health.run()
        await self.world.quiet()

    async def flags(self) -> dict[str, str]:
        """Flag by name, of those that have one."""
        return {vm.name: vm.warned for vm in await self.world.rows() if vm.warned}

    async def kinds(self) -> list[str]:
        """The events about health."""
        kinds = ("removing", "unreachable", "off_host", "well", "moved")
        return [e.kind for e in await self.world.inventory.events(0, 500) if e.kind in kinds]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have a budget of their own."""
    monkeypatch.setattr(health, "CONNECTIONS_PER_S", 10_000.0)


@pytest.fixture
def ward(world: World) -> Ward:
    """Without the right to end anything."""
    return Ward(world)


async def test_vms_that_are_well_are_looked_at_with_one_list_per_crn_and_nothing_is_said(ward: Ward) -> None:
    """And the figures say what it cost."""
    await ward.rent(3)
    before = len(ward.world.network.asked("executions"))
    await ward.passes()
    assert len(ward.world.network.asked("executions")) == before + 1
    assert (await ward.flags(), ward.health.alerts()) == ({}, [])
    figures = ward.health.figures()
    assert (figures["watched"], figures["crns"], figures["knocked"], figures["unwell"]) == (3, 1, 3, 0)
    assert figures["connections"] == 5


async def test_a_vm_that_its_crn_stops_listing_is_flagged_and_cleared_when_it_is_back(ward: Ward) -> None:
    """A row is not closed for it: the network still bills it."""
    [vm] = await ward.rent(1)
    ward.world.network.pools[vm.crn_url].clear()
    await ward.passes()
    assert await ward.flags() == {}, "one look is no proof"
    await ward.passes()
    assert await ward.flags() == {"vm-0": "off_host"}
    assert "does not list it" in ward.health.alerts()[0]
    ward.world.network.pools[vm.crn_url].add(vm.item_hash)
    await ward.passes()
    assert (await ward.flags(), ward.health.alerts()) == ({}, [])
    assert await ward.kinds() == ["off_host", "well"]
    assert (await ward.world.row(vm)).state is VmState.RUNNING


async def test_a_crn_that_does_not_answer_says_nothing_about_its_vms(ward: Ward) -> None:
    """Promise 5: trouble is no absence."""
    [vm] = await ward.rent(1)
    ward.world.network.pools[vm.crn_url].clear()
    ward.world.network.crn_does[vm.crn_hash] = "silent"
    await ward.passes(5)
    assert await ward.flags() == {}


async def test_a_vm_whose_ssh_is_silent_for_long_is_flagged_and_never_ended_for_it(ward: Ward) -> None:
    """The owner did not ask for more."""
    vms = await ward.rent(2)
    ward.silent.add(vms[0].ssh_port)
    await ward.passes(30)
    assert await ward.flags() == {}
    await ward.passes(2)
    assert await ward.flags() == {vms[0].name: "unreachable"}
    await ward.passes(10)
    assert len(await ward.world.rows(VmState.RUNNING)) == 2
    ward.silent.clear()
    await ward.passes()
    assert await ward.flags() == {}
    assert await ward.kinds() == ["moved"] * (await ward.kinds()).count("moved") + ["unreachable", "well"]


async def test_a_vm_that_the_network_is_removing_is_flagged_until_a_top_up(ward: Ward) -> None:
    """The credits run out: a human has to know."""
    [vm] = await ward.rent(1)
    ward.world.network.statuses[vm.item_hash] = MessageStatus.REMOVING
    await ward.passes()
    assert await ward.flags() == {"vm-0": "removing"}
    assert "top up" in ward.health.alerts()[0]
    ward.world.network.fail("removing")
    await ward.passes()
    assert await ward.flags() == {"vm-0": "removing"}, "an error is no news"
    ward.world.network.statuses[vm.item_hash] = MessageStatus.PROCESSED
    await ward.passes()
    assert await ward.flags() == {}


async def test_when_nothing_at_all_answers_nothing_is_said_about_any_vm(ward: Ward) -> None:
    """It is our own network."""
    vms = await ward.rent(2)
    ward.silent |= {vm.ssh_port for vm in vms}
    ward.world.network.crn_does = {crn.hash: "silent" for crn in ward.world.network.crn_list}
    ward.world.network.fail("removing", times=99)
    await ward.passes(40)
    assert await ward.flags() == {}
    assert ward.health.figures()["trouble"] == "nothing answered"


async def test_somebody_else_s_flag_is_left_alone(ward: Ward) -> None:
    """The sweeper knows why it is there."""
    [vm] = await ward.rent(1)
    await ward.world.inventory.note(vm.item_hash, warned="stale")
    ward.world.network.statuses[vm.item_hash] = MessageStatus.REMOVING
    await ward.passes(2)
    assert await ward.flags() == {"vm-0": "stale"}


async def test_unreachable_vms_are_ended_when_the_owner_wants_it_and_others_answer(world: World) -> None:
    """TEARDOWN_UNREACHABLE=1."""
    ward = Ward(world, teardown=True)
    vms = await ward.rent(3)
    ward.silent.add(vms[1].ssh_port)
    await ward.passes(32)
    left = await world.rows(VmState.RUNNING)
    assert [vm.name for vm in left] == [vms[0].name, vms[2].name]
    assert "unreachable" in (await world.row(vms[1])).cause
    assert sorted(world.network.billed()) == sorted(vm.item_hash for vm in left)


async def test_when_all_or_most_are_unreachable_none_is_ended_and_the_owner_is_told(world: World) -> None:
    """Our own network, or a mass: a human decides."""
    ward = Ward(world, teardown=True)
    vms = await ward.rent(3)
    ward.silent |= {vm.ssh_port for vm in vms}
    await ward.passes(33)
    assert "our own network" in ward.health.alerts()[-1]
    ward.silent.remove(vms[0].ssh_port)
    await ward.passes(2)
    assert "too many" in ward.health.alerts()[-1]
    assert len(await world.rows(VmState.RUNNING)) == 3


async def test_a_vm_that_its_crn_gave_another_port_is_followed(ward: Ward) -> None:
    """A CRN was restarted."""
    [vm] = await ward.rent(1)
    await ward.world.inventory.note(vm.item_hash, ssh_port=1)
    await ward.passes()
    assert (await ward.world.row(vm)).ssh_port == 24_000
    assert await ward.kinds() == ["moved"]


async def test_knocks_are_limited_and_each_vm_gets_its_turn(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of VMs share the budget of a pass."""
    vms = await ward.rent(3)
    monkeypatch.setattr(health, "MOST_KNOCKS", 1)
    ward.world.network.calls.clear()
    await ward.passes(3)
    knocked = ward.world.network.asked("ssh_answers")
    assert len(knocked) == 3
    assert {int(place.rpartition(":")[2]) for place in knocked} == {vm.ssh_port for vm in vms}


async def test_a_pass_without_vms_asks_nobody(ward: Ward) -> None:
    """Idle costs nothing."""
    ward.world.network.calls.clear()
    await ward.passes()
    assert ward.world.network.calls == []
    assert ward.health.figures()["watched"] == 0


async def test_connections_are_spread_over_time() -> None:
    """By the loop's clock: the fourth one may start three steps after the first at the soonest."""
    import asyncio

    from aleph_agentd.services.pace import Pace

    loop, pace = asyncio.get_running_loop(), Pace(per_s=100, at_once=2)
    began = loop.time()

    async def connect() -> None:
        async with pace.turn():
            pass

    await asyncio.gather(*(connect() for _ in range(4)))
    assert loop.time() - began >= 0.03 - 0.001
    assert pace.opened == 4
