"""More time for a running lease."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.domain.errors import Conflict, Denied
from aleph_agentd.domain.model import VmState
from aleph_agentd.ports import Remembered
from support.clock import NOON
from support.world import ALICE, BOB, World

HOUR = timedelta(hours=1)


async def test_an_extension_moves_the_end_and_reserves_its_cost(world: World) -> None:
    """Only the additional time: the tail is reserved already."""
    vm = await world.create()
    before = (await world.money(vm))[0]
    longer = await world.services.extender.extend(vm, 3, ALICE)
    assert longer.expires_at == NOON + 7 * HOUR
    assert longer.lease_version == vm.lease_version + 1
    assert (await world.money(vm))[0] == before + 3 * 14_250


async def test_an_expired_lease_is_never_revived(world: World) -> None:
    """Not even if nobody has reaped it yet."""
    vm = await world.create(ttl_hours=1)
    world.clock.forward(hours=1)
    with pytest.raises(Conflict) as refused:
        await world.services.extender.extend(vm, 3, ALICE)
    assert refused.value.code == "lease_over"
    assert await world.row(vm) == vm


async def test_a_lease_that_ends_while_its_extension_asks_the_network_is_not_revived(world: World) -> None:
    """A suspended machine wakes hours later, and the extension goes on before the reaper."""
    vm = await world.create(ttl_hours=1)

    async def suspended(_: str) -> None:
        world.clock.forward(hours=2)

    world.network.before("balance", suspended)
    with pytest.raises(Conflict) as refused:
        await world.services.extender.extend(vm, 3, ALICE)
    assert refused.value.code == "lease_over"
    assert await world.row(vm) == vm


async def test_a_vm_that_is_being_torn_down_is_not_extended(world: World) -> None:
    """From the order on nothing but teardown touches it."""
    vm = await world.create()
    await world.services.teardown.order(vm.item_hash, "destroyed")
    with pytest.raises(Conflict) as refused:
        await world.services.extender.extend(vm, 1, ALICE)
    assert refused.value.code == "lease_over"


async def test_two_extensions_at_once_count_once(world: World) -> None:
    """Both saw the same lease; the second is told to look again."""
    vm = await world.create()
    outcomes = await asyncio.gather(
        *(world.services.extender.extend(vm, 1, caller) for caller in (ALICE, BOB)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 1
    assert (await world.row(vm)).expires_at == NOON + 5 * HOUR


@pytest.mark.parametrize(
    ("limits", "hours", "code"),
    [
        ({"max_ttl_hours": 6.0}, 2.1, "max_ttl"),
        ({"max_session_spend_units": 80_000}, 2, "max_session_spend"),
        ({"max_daily_spend_units": 80_000}, 2, "max_daily_spend"),
        ({"human_approval_threshold_units": 80_000}, 2, "human_approval"),
        ({"min_balance_units": 99_930_000}, 2, "min_balance"),
    ],
)
async def test_the_whole_policy_runs_for_an_extension(
    machine: Any, limits: Any, hours: float, code: str
) -> None:
    """Total life counts against the TTL; every money rule counts the additional cost."""
    async with machine.life(**limits) as world:
        vm = await world.create()
        with pytest.raises(Denied) as denied:
            await world.services.extender.extend(vm, hours, ALICE)
        assert denied.value.code == code
        assert await world.row(vm) == vm


async def test_a_full_house_can_still_extend(machine: Any) -> None:
    """It makes no VM."""
    async with machine.life(max_concurrent_vms=1, max_creates_per_hour=1) as world:
        vm = await world.create()
        assert (await world.services.extender.extend(vm, 1, ALICE)).expires_at == NOON + 5 * HOUR


async def test_an_extension_under_a_request_key_happens_once(world: World) -> None:
    """The key is claimed in the same transaction."""
    vm = await world.create()
    what = Remembered("aleph_extend_vm", "arguments")
    longer = await world.services.extender.extend(vm, 1, ALICE, ("k1", what))
    with pytest.raises(Conflict):
        await world.services.extender.extend(longer, 1, ALICE, ("k1", what))
    assert (await world.row(vm)).expires_at == NOON + 5 * HOUR


async def test_without_a_balance_nothing_is_extended_and_the_lease_stays(world: World) -> None:
    """Unknown = refuse."""
    vm = await world.create()
    world.network.fail("balance")
    with pytest.raises(Exception, match="balance is not known"):
        await world.services.extender.extend(vm, 1, ALICE)
    assert (await world.row(vm)).state is VmState.RUNNING


async def test_what_an_extension_reserved_is_given_back_when_the_vm_ends(world: World) -> None:
    """Settled to what was used, by the session that reserved it."""
    vm = await world.create()
    await world.services.extender.extend(vm, 3, BOB)
    world.clock.forward(hours=1)
    await world.end(vm)
    assert await world.money(vm) == (0, 14_250)
    exposure = await world.inventory.exposure("bob", world.clock.now())
    assert exposure.session_units == 0
