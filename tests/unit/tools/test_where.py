"""Where a VM goes, as the tools are asked: terms of a CRN, and GPUs."""

from dataclasses import replace
from typing import Any

import pytest

from aleph_agentd.domain.delegation import BREAKS
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.tools.toolbox import Toolbox
from support.fake_network import ADA, ADDRESS, CrnMood
from support.world import ALICE, Machine, World

TERMS = "ab" * 32
PAYER = "0xPayer"
BIG = {"has_gpu": True, "gpus": (ADA,)}


async def _create(world: World, **arguments: Any) -> Any:
    arguments = {"name": "box"} | arguments
    return await Toolbox(world.services).call("aleph_create_vm", arguments, caller=ALICE)


async def _refusal(world: World, **arguments: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await _create(world, **arguments)
    return refused.value


async def test_a_crn_with_terms_is_taken_only_with_their_hash(world: World) -> None:
    """Which the refusal shows; the answer says what was accepted."""
    first, *rest = world.network.crn_list
    world.network.crn_list = (replace(first, terms_and_conditions=TERMS), *rest)
    refused = await _refusal(world, crn_hash="crn-1")
    assert (refused.code, TERMS in refused.message) == ("terms_not_accepted", True)
    assert (await _refusal(world, crn_hash="crn-1", accept_terms="cd" * 32)).code == "terms_not_accepted"
    assert (await _create(world, dry_run=True))["crn_name"] == "crn-2"
    assert await world.rows() == []
    quoted = await _create(world, crn_hash="crn-1", accept_terms=TERMS, dry_run=True)
    assert quoted["terms_accepted"] == TERMS
    assert (await _create(world, crn_hash="crn-1", accept_terms=TERMS))["status"] == "running"


async def test_the_owner_can_accept_terms_for_every_agent(machine: Machine) -> None:
    """By their hash, in the policy."""
    async with machine.life(accept_terms=frozenset({TERMS})) as world:
        first, *rest = world.network.crn_list
        world.network.crn_list = (replace(first, terms_and_conditions=TERMS), *rest)
        assert (await _create(world))["crn_name"] == "crn-1"


@pytest.mark.parametrize("gpu", ["any", "RTX 4000 ADA", "4000"])
async def test_a_vm_with_a_gpu_has_the_size_and_the_price_of_its_model(machine: Machine, gpu: str) -> None:
    """Signed with the device that the CRN offers, and reserved at that price."""
    async with machine.life(human_approval_threshold_units=None, cost_threshold_units=10**9) as world:
        world.network.crn_list = tuple(
            replace(crn, **(BIG if crn.name == "crn-3" else {})) for crn in world.network.crn_list
        )
        made = await _create(world, gpu=gpu, ttl_hours=1)
        assert (made["status"], made["crn_name"], made["hourly_cost"]) == ("running", "crn-3", 12.9375)
        assert made["placement"].startswith("RTX 4000 ADA; ")
        (vm,) = await world.rows()
        assert (vm.compute_units, vm.vcpus, vm.memory_mib, vm.disk_mib) == (3, 3, 18_432, 184_320)
        assert (await world.money(vm))[0] == 194_063, "the lease and 30 minutes, rounded up"
        assert world.network.messages[vm.item_hash].content["gpu"] == ADA.device_id


async def test_a_gpu_above_a_limit_is_refused_at_its_own_price(machine: Machine) -> None:
    """Before anything is signed."""
    async with machine.life(max_hourly_burn_units=100_000) as world:
        world.network.crn_list = (replace(world.network.crn_list[0], **BIG),)
        assert (await _refusal(world, gpu="any", ttl_hours=1)).code == "max_hourly_burn"
        assert world.network.asked("sign_instance") == []


async def test_a_gpu_that_nobody_has_free_and_one_that_is_not_sold_are_different_answers(
    world: World,
) -> None:
    """The second one lists what there is."""
    assert (await _refusal(world, gpu="any")).code == "unavailable"
    refused = await _refusal(world, gpu="H100")
    assert (refused.code, "RTX 4000 ADA" in refused.hint) == ("no_gpu", True)


async def test_a_gpu_that_is_not_offered_anew_is_not_created_from_its_quote(machine: Machine) -> None:
    """The CRN takes the quoted device, at the quoted price, or asks again."""
    async with machine.life(cost_threshold_units=1, human_approval_threshold_units=None) as world:
        world.network.crn_list = (replace(world.network.crn_list[0], **BIG),)
        asked = await _create(world, gpu="any", ttl_hours=1)
        assert "3 CU with RTX 4000 ADA" in asked["confirmation_message"]
        tier = world.network.gpus["rtx 4000 ada"]
        world.network.gpus["rtx 4000 ada"] = replace(tier, rate=tier.rate * 2)
        again = await _create(world, gpu="any", ttl_hours=1, confirmed=True)
        assert again["requires_confirmation"]
        assert again["hourly_cost"] == 25.875


@pytest.mark.parametrize("says", ["gave_its_gpu_away", "silent"])
async def test_a_crn_that_keeps_no_gpu_is_left_before_anything_is_paid(
    machine: Machine, says: CrnMood
) -> None:
    """Its INSTANCE is never broadcast, and the next best CRN is taken."""
    async with machine.life(human_approval_threshold_units=None, cost_threshold_units=10**9) as world:
        first, second, *_ = world.network.crn_list
        world.network.crn_list = (replace(first, **BIG), replace(second, score=0.1, **BIG))
        world.network.crn_does[first.hash] = says
        made = await _create(world, gpu="any", ttl_hours=1)
        assert (made["status"], made["crn_name"], len(made["warnings"])) == ("running", second.name, 1)
        assert made["warnings"][0].startswith(f"{first.name}: the CRN ")
        (row,) = [vm for vm in await world.rows() if vm.item_hash != made["item_hash"]]
        assert world.network.asked("reserve") == [row.item_hash, made["item_hash"]]
        assert list(world.network.messages) == [made["item_hash"]]
        assert (row.broadcast_at, await world.money(row)) == (None, (0, 0))


async def test_nothing_is_reserved_for_a_plain_vm_or_for_another_payer(machine: Machine) -> None:
    """A CRN keeps a GPU for who signs, and gives it to who pays."""
    machine.human = PAYER
    machine.network.grants[PAYER, ADDRESS] = frozenset(BREAKS)
    async with machine.life(human_approval_threshold_units=None, cost_threshold_units=10**9) as world:
        await _create(world, name="plain")
        world.network.crn_list = (replace(world.network.crn_list[0], **BIG),)
        assert (await _create(world, gpu="any", ttl_hours=1))["status"] == "running"
        assert world.network.asked("reserve") == []
