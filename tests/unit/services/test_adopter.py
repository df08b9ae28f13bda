"""What a row costs that is written for a VM which only the network knows."""

from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.domain.model import NetworkInstance, PublishedEnd
from aleph_agentd.domain.money import hourly_units
from support.fake_network import ADA, ADDRESS
from support.world import World
from support.world_fixtures import machine, short_pauses, world

__all__ = ["machine", "short_pauses", "world"]

ORPHAN = "ab" * 32
SIZE: dict[str, Any] = {"vcpus": 3, "memory": 3 * 6144}
GPU_HOURLY = 3 * 43_125


async def listed(world: World) -> NetworkInstance:
    """The only VM there is."""
    [item] = await world.network.instances(ADDRESS)
    return item


async def test_a_gpu_vm_is_taken_in_at_its_own_price(world: World) -> None:
    """Reserved, too: at a plain VM's price it would cost three times what anybody expects."""
    world.network.stranger(ORPHAN, gpu=ADA.device_id, **SIZE)
    end = PublishedEnd(0, world.clock.now() + timedelta(hours=2))
    vm = await world.services.adopter.adopt(await listed(world), end, "a test")
    assert (vm.hourly_units, vm.compute_units) == (GPU_HOURLY, 3)
    assert await world.money(vm) == (-(-GPU_HOURLY * 5 // 2), 0)


async def test_a_gpu_vm_whose_price_nobody_tells_costs_the_dearest(world: World) -> None:
    """It can be taken in and ended all the same; less than what it costs is never reserved."""
    world.network.stranger(ORPHAN, gpu=ADA.device_id, **SIZE)
    world.network.fail("rates")
    assert hourly_units(await world.services.adopter.rate(await listed(world))) == GPU_HOURLY
    del world.network.gpus[ADA.model.lower()]
    world.network.fail("rates")
    assert hourly_units(await world.services.adopter.rate(await listed(world))) == 3 * 14_250


@pytest.mark.parametrize("told", [0, -1])
async def test_a_gpu_vm_never_costs_less_than_one_without(
    world: World, monkeypatch: pytest.MonkeyPatch, told: int
) -> None:
    """Whatever the network tells."""

    async def rates(_: str) -> dict[str, Any]:
        return {ORPHAN: told}

    monkeypatch.setattr(world.network, "rates", rates)
    world.network.stranger(ORPHAN, gpu=ADA.device_id, **SIZE)
    assert hourly_units(await world.services.adopter.rate(await listed(world))) == 3 * 14_250


async def test_a_plain_vm_costs_its_compute_units(world: World) -> None:
    """Nobody is asked for more than the price of one."""
    world.network.stranger(ORPHAN, vcpus=2, memory=4096)
    assert hourly_units(await world.services.adopter.rate(await listed(world))) == 2 * 14_250
    assert "rates" not in [method for method, _ in world.network.calls]
