"""That a lease ends soon reaches the agent whose VM it is, with whatever it asks next."""

from aleph_agentd.domain.caller import Caller
from aleph_agentd.tools.toolbox import Toolbox
from support.world import ALICE, BOB, World


async def _ask(world: World, caller: Caller, tool: str = "list_my_vms", **arguments: object) -> dict:
    return await Toolbox(world.services).call(f"aleph_{tool}", arguments, caller=caller)


async def test_the_next_answer_has_a_line_and_a_field_once_per_end(world: World) -> None:
    """Not another's answer, not the one after it; and again when an extension nears its end."""
    await world.create(ttl_hours=1.0)
    world.clock.forward(minutes=50)
    await world.services.lookout.run()
    assert (await _ask(world, BOB))["ends_soon"] == []
    told = await _ask(world, ALICE, "check_balance")
    [soon] = told["ends_soon"]
    assert (soon["name"], soon["expires_in"]) == ("box", "10 min")
    assert "The lease of box ends in 10 min" in told["alerts"][0]
    again = await _ask(world, ALICE)
    assert (again["ends_soon"], again["alerts"]) == ([], [])
    await _ask(world, ALICE, "extend_vm", item_hash="box", additional_hours=1)
    await world.services.lookout.run()
    assert (await _ask(world, ALICE))["ends_soon"] == []
    world.clock.forward(hours=1)
    await world.services.lookout.run()
    assert len((await _ask(world, ALICE))["ends_soon"]) == 1


async def test_the_answer_that_extends_does_not_tell_of_the_old_end(world: World) -> None:
    """It would send the agent back for what it has just done."""
    await world.create(ttl_hours=1.0)
    world.clock.forward(minutes=50)
    await world.services.lookout.run()
    extended = await _ask(world, ALICE, "extend_vm", item_hash="box", additional_hours=1)
    assert extended["ends_soon"] == []
