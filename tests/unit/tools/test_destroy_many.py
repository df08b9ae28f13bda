"""Destroying by filter: nothing but exactly what was listed and confirmed (rules.md 24)."""

from dataclasses import replace
from typing import Any

import pytest

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.model import VmState
from aleph_agentd.tools.toolbox import Toolbox
from support.world import ALICE, BOB, World


async def _destroy(world: World, caller: Any = ALICE, **arguments: Any) -> Any:
    return await Toolbox(world.services).call("aleph_destroy_vm", arguments, caller=caller)


async def _refusal(world: World, caller: Any = ALICE, **arguments: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await _destroy(world, caller, **arguments)
    assert refused.value.hint
    return refused.value


def _hashes(answer: Any) -> list[str]:
    return [vm["item_hash"] for vm in answer["vms"]]


async def test_mine_lists_first_and_destroys_exactly_that_list_after_a_yes(world: World) -> None:
    """One made in between lives on, and so does another session's."""
    for name in ("one", "two"):
        await world.create(name=name)
    bobs = await world.create(BOB, name="bobs")
    listed = await _destroy(world, filter="mine")
    assert (listed["status"], {vm["name"] for vm in listed["vms"]}) == ("confirm", {"one", "two"})
    assert len(world.network.billed()) == 3
    await world.end(bobs)
    await world.create(name="later")
    ended = await _destroy(world, item_hashes=_hashes(listed), token=listed["token"])
    assert (ended["status"], ended["billing_ended"]) == ("destroyed", True)
    alive = {vm.name for vm in await world.rows(VmState.RUNNING)}
    assert alive == {"later"}


async def test_a_token_is_for_one_list_one_session_and_one_state_of_the_leases(world: World) -> None:
    """Anything else is asked anew, and destroys nothing."""
    one, two = [await world.create(name=name) for name in ("one", "two")]
    listed = await _destroy(world, filter="mine")
    token = listed["token"]
    assert (await _refusal(world, item_hashes=[one.item_hash], token=token)).code == "not_confirmed"
    both = [one.item_hash, two.item_hash]
    colleague = replace(BOB, project=ALICE.project)
    assert (await _refusal(world, colleague, item_hashes=both, token=token)).code == "not_confirmed"
    assert (await _refusal(world, BOB, item_hashes=both, token=token)).code == "not_yours"
    await world.services.extender.extend(one, 1.0, ALICE)
    assert (await _refusal(world, item_hashes=both, token=token)).code == "not_confirmed"
    assert len(world.network.billed()) == 2


async def test_a_yes_sent_twice_tells_the_truth_twice(world: World) -> None:
    """As a client does that lost its answer."""
    await world.create(name="one")
    listed = await _destroy(world, filter="mine")
    for _ in range(2):
        ended = await _destroy(world, item_hashes=_hashes(listed), token=listed["token"])
        assert ended["status"] == "destroyed"
    assert len(world.network.of_kind("FORGET")) == 1


async def test_expired_ones_are_those_whose_lease_is_over(world: World) -> None:
    """Of this session and its project; others are not even listed."""
    assert (await _destroy(world, filter="expired"))["status"] == "nothing"
    await world.create(name="short", ttl_hours=1.0)
    await world.create(BOB, name="bobs", ttl_hours=1.0)
    await world.create(name="long", ttl_hours=9.0)
    world.clock.forward(hours=2)
    listed = await _destroy(world, filter="expired")
    assert [vm["name"] for vm in listed["vms"]] == ["short"]
    ended = await _destroy(world, item_hashes=_hashes(listed), token=listed["token"])
    assert ended["status"] == "destroyed"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"item_hash": "box", "filter": "mine"},
        {"filter": "all"},
        {"item_hashes": ["a"]},
        {"token": "x"},
        {"filter": "mine", "token": "x"},
        {"item_hashes": ["a"] * 16, "token": "x"},
    ],
)
async def test_what_is_not_one_clear_order_is_refused(world: World, arguments: dict[str, Any]) -> None:
    """Before anything happens."""
    await world.create(name="box")
    assert (await _refusal(world, **arguments)).code == "bad_input"
    assert len(world.network.billed()) == 1


async def test_a_network_that_is_away_leaves_them_ordered(world: World) -> None:
    """And says so."""
    await world.create(name="one")
    listed = await _destroy(world, filter="mine")
    world.network.fail("status")
    ended = await _destroy(world, item_hashes=_hashes(listed), token=listed["token"])
    assert (ended["status"], ended["billing_ended"]) == ("destroying", False)
