"""A payer that revokes what it granted: an alarm with its own commands, until it grants again (rules.md 22)."""

import pytest

from aleph_agentd.domain.delegation import BREAKS, entry_for, grant_command
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.model import VmState
from aleph_agentd.tools.views import alerts
from support.fake_network import ADDRESS
from support.world import Machine, World

PAYER = "0xPayer"
ALL = frozenset(BREAKS)


def grant(world_or_machine: Machine | World, *kinds: str) -> None:
    """The payer grants these, and nothing else."""
    world_or_machine.network.grants[PAYER, ADDRESS] = frozenset(kinds)


@pytest.fixture
def machine(machine: Machine) -> Machine:
    """A machine whose payer is somebody else, who grants all that is needed."""
    machine.human = PAYER
    grant(machine, *ALL)
    return machine


async def look(world: World) -> None:
    """A sweep, which looks at the grants first."""
    await world.services.sweeper.run()
    await world.quiet()


async def events(world: World) -> list[str]:
    """Those about the delegation."""
    found = await world.inventory.events(0, 1000)
    return [event.kind for event in found if event.kind.startswith("delegation")]


async def refusal(world: World) -> Refusal:
    """What a create is refused with."""
    with pytest.raises(Refusal) as refused:
        await world.create(name="another")
    return refused.value


async def test_while_all_is_granted_nothing_is_said(world: World) -> None:
    """And the payer pays."""
    await look(world)
    vm = await world.create()
    assert (vm.payer, vm.signer) == (PAYER, ADDRESS)
    assert alerts(world.services) == []
    assert await events(world) == []


async def test_without_a_grant_a_create_names_the_payer_s_command(world: World) -> None:
    """And the very entry of the security aggregate."""
    grant(world)
    await look(world)
    refused = await refusal(world)
    assert refused.code == "no_delegation"
    assert PAYER in refused.message and "INSTANCE" in refused.message
    assert grant_command(ADDRESS) in refused.hint
    assert refused.data["authorization"] == entry_for(ADDRESS)
    assert world.network.posted == []


async def test_a_revocation_raises_an_alarm_with_a_command_for_each_vm(world: World) -> None:
    """In every answer and `status`; one event and one line, however often it is looked at."""
    vms = [await world.create(name=f"box-{n}") for n in range(2)]
    await look(world)
    grant(world, "FORGET", "AGGREGATE")
    await look(world)
    await look(world)
    said = " ".join(alerts(world.services))
    for vm in vms:
        assert f"{vm.name}: aleph message forget {vm.item_hash}" in said
    assert grant_command(ADDRESS) in said
    assert await events(world) == ["delegation_missing"]
    figures = world.services.figures["delegation"]()
    assert (figures["missing"], len(figures["stranded"])) == ({"INSTANCE": BREAKS["INSTANCE"]}, 2)
    assert (await refusal(world)).code == "no_delegation"


async def test_a_vm_that_the_payer_has_forgotten_is_not_named_any_more(world: World) -> None:
    """Each look counts anew."""
    vm = await world.create()
    grant(world)
    await look(world)
    await world.inventory.settle(vm.item_hash, "test", world.clock.now(), forgotten_at=world.clock.now())
    await look(world)
    assert not any(vm.item_hash in alert for alert in alerts(world.services))
    assert (await refusal(world)).code == "no_delegation"


async def test_once_it_is_granted_again_what_waited_to_end_ends_at_once(world: World) -> None:
    """Whatever its backoff said; the alarm is gone, and that is told."""
    vm = await world.create()
    grant(world)
    await look(world)
    ending = await world.end(vm, passes=3)
    assert ending.state is VmState.DESTROYING and ending.billing
    grant(world, *ALL)
    await look(world)
    assert (await world.row(vm)).state is VmState.GONE
    assert alerts(world.services) == []
    assert await events(world) == ["delegation_missing", "delegation_restored"]
    assert (await world.create(name="another")).state is VmState.RUNNING


async def test_what_cannot_be_read_stays_as_it_was(world: World) -> None:
    """Unknown is neither granted nor revoked."""
    world.network.fail("granted")
    await look(world)
    assert world.services.figures["delegation"]()["granted"] is None
    await world.create()
    grant(world)
    await look(world)
    world.network.fail("granted")
    await look(world)
    assert (await refusal(world)).code == "no_delegation"
    assert await events(world) == ["delegation_missing"]


async def test_who_pays_for_itself_needs_no_grant(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is asked; neither with its own address as the payer."""
    for human in ("", ADDRESS):
        machine = Machine(tmp_path_factory.mktemp("own"))
        machine.human = human
        async with machine.life() as world:
            await look(world)
            await world.create()
            assert world.network.asked("granted") == []
            assert world.services.figures["delegation"]() == {"delegated": False}


async def test_many_stranded_vms_do_not_fill_every_answer(machine: Machine) -> None:
    """Twenty commands, and where the others are."""
    async with machine.life(max_concurrent_vms=30, max_creates_per_hour=100) as world:
        for n in range(21):
            await world.create(name=f"box-{n}")
        grant(world)
        await look(world)
        said = " ".join(alerts(world.services))
        assert said.count("aleph message forget") == 20
        assert "21 VMs" in said and "and 1 more: aleph-agentctl vms" in said
