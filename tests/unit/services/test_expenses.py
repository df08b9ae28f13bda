"""The books against the payer's real expenses, and reservations against what VMs cost now (rules.md 15)."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from aleph_agentd.domain.errors import Denied
from aleph_agentd.domain.model import Vm
from aleph_agentd.services.expenses import DRIFT, OVERRUN, UNIT
from support.world import ALICE, Machine, World

HOURLY = 14_250


async def _ended(world: World, hours: float = 2) -> Vm:
    vm = await world.create()
    world.clock.forward(hours=hours)
    return await world.end(vm, 3)


def _charge_more(world: World, vm: Vm, units: int) -> None:
    booked = world.network.booked[vm.payer]
    [index] = [n for n, expense in enumerate(booked) if expense.item_hash == vm.item_hash]
    booked[index] = replace(booked[index], units=booked[index].units + units)


async def _kinds(world: World, *kinds: str) -> list[str]:
    return [event.kind for event in await world.inventory.events(0, 500) if event.kind in kinds]


async def test_charges_that_agree_are_shown_and_nothing_happens(world: World) -> None:
    """Neither alert nor event."""
    await _ended(world)
    world.clock.forward(hours=2)
    await world.services.expenses.run()
    figures = world.services.expenses.figures()
    assert (figures["vms"], figures["untold"], figures["drift_percent"], figures["trouble"]) == (
        1,
        0,
        0.0,
        "",
    )
    assert figures["network_credits"] == pytest.approx(2.85, abs=0.01)
    assert world.services.expenses.alerts() == []
    assert await _kinds(world, "drift", "late_expense") == []


async def test_drift_is_told_once_and_freezes_spending(world: World) -> None:
    """Until a human lifts it; it does not freeze again while the drift stays."""
    vm = await _ended(world)
    world.clock.forward(hours=2)
    _charge_more(world, vm, 2 * HOURLY)
    await world.services.expenses.run()
    [alert] = world.services.expenses.alerts()
    assert "box" in alert
    assert world.services.expenses.figures()["drift_percent"] > 5
    with pytest.raises(Denied) as refused:
        world.services.freezes.check("create", ALICE)
    assert DRIFT in refused.value.message
    await world.services.freezes.lift("the test")
    await world.services.expenses.run()
    world.services.freezes.check("create", ALICE)
    assert await _kinds(world, "drift") == ["drift"]


async def test_drift_that_is_over_is_told_too(world: World) -> None:
    """After a day it is not in the comparison any more."""
    vm = await _ended(world)
    world.clock.forward(hours=2)
    _charge_more(world, vm, 2 * HOURLY)
    await world.services.expenses.run()
    world.clock.forward(hours=25)
    await world.services.expenses.run()
    assert world.services.expenses.alerts() == []
    assert await _kinds(world, "drift", "drift_over") == ["drift", "drift_over"]


async def test_what_the_network_does_not_tell_says_nothing(world: World) -> None:
    """The last comparison stands; nothing is booked, told or frozen."""
    vm = await _ended(world)
    world.clock.forward(hours=2)
    await world.services.expenses.run()
    before = world.services.expenses.figures()
    _charge_more(world, vm, 10 * HOURLY)
    world.network.fail("expenses")
    await world.services.expenses.run()
    after = world.services.expenses.figures()
    assert after.pop("trouble")
    assert after == {name: value for name, value in before.items() if name != "trouble"}
    assert (await world.money(vm))[1] < 3 * HOURLY
    world.services.freezes.check("create", ALICE)


async def test_a_late_expense_reopens_a_settled_row_once(world: World) -> None:
    """The difference is booked, however often it is looked at."""
    vm = await _ended(world)
    world.clock.forward(hours=2)
    _charge_more(world, vm, 500)
    charged = world.network.booked[vm.payer][0].units
    for _ in range(3):
        await world.services.expenses.run()
    assert await world.money(vm) == (0, max(charged, (await world.row(vm)).cost_units(world.clock.now())))
    assert await _kinds(world, "late_expense") == ["late_expense"]
    _charge_more(world, vm, 7)
    await world.services.expenses.run()
    assert (await world.money(vm))[1] == charged + 7


async def test_a_vm_that_is_not_settled_is_not_booked_late(world: World) -> None:
    """Its settlement books it."""
    vm = await world.create()
    assert await world.inventory.book_late({vm.item_hash: 10**6}, world.clock.now()) == {}
    assert (await world.money(vm))[1] == 0


async def test_a_lease_whose_price_rose_reserves_more_and_one_that_fell_keeps_its_own(world: World) -> None:
    """What it may cost at worst, by the network's own word on this VM."""
    vm = await world.create()
    before = (await world.money(vm))[0]
    world.network.price_moves("0.5")
    await world.services.expenses.reprice()
    assert (await world.money(vm))[0] == before
    world.network.price_moves("4")
    await world.services.expenses.reprice()
    row = await world.row(vm)
    assert row.hourly_units == 2 * HOURLY
    assert (await world.money(vm))[0] == pytest.approx(2 * before, rel=0.001)
    await world.services.expenses.reprice()
    assert (await world.money(vm))[0] == pytest.approx(2 * before, rel=0.001)


async def test_a_teardown_that_lasts_reserves_for_as_long_as_it_may_be_billed(world: World) -> None:
    """To max(lease end, now) and half an hour."""
    vm = await world.create()
    world.network.fail("post", 1000)
    world.clock.forward(hours=10)
    await world.end(vm)
    await world.services.expenses.reprice()
    row = await world.row(vm)
    half = (await world.money(vm))[0] - row.cost_units(world.clock.now())
    assert half == pytest.approx(HOURLY / 2, abs=2)


@pytest.mark.parametrize(
    ("limits", "frozen"),
    [({"max_daily_spend_units": 70_000}, True), ({"max_daily_spend_units": 700_000}, False)],
)
async def test_an_overrun_past_a_limit_freezes_spending(
    machine: Machine, limits: dict[str, Any], frozen: bool
) -> None:
    """What was admitted within the limit has grown past it."""
    async with machine.life(**limits) as world:
        await world.create()
        world.network.price_moves("2")
        await world.services.expenses.reprice()
        assert [freeze.reason for freeze in world.services.freezes.standing] == ([OVERRUN] if frozen else [])


async def test_an_overrun_freezes_although_the_daemon_died_before_it_looked(machine: Machine) -> None:
    """What is reserved already grows no more: the first look of a life looks at what grew in the last one."""
    limits = {"max_daily_spend_units": 70_000}
    async with machine.life(**limits) as world:
        vm = await world.create()
        world.network.price_moves("2")
        rate = {vm.item_hash: vm.rate * 2}
        assert await world.inventory.reprice([vm.item_hash], rate, world.clock.now())
    async with machine.life(**limits) as world:
        await world.services.expenses.reprice()
        assert [freeze.reason for freeze in world.services.freezes.standing] == [OVERRUN]


async def test_a_limit_that_was_lowered_is_no_overrun(machine: Machine) -> None:
    """Nothing has grown: the rule refuses what is new, and nobody has to lift anything."""
    async with machine.life() as world:
        await world.create()
    async with machine.life(max_daily_spend_units=10_000) as world:
        await world.services.expenses.reprice()
        assert not world.services.freezes.standing


async def test_a_price_that_is_none_freezes_and_reserves_nothing_by_it(machine: Machine) -> None:
    """The network changed its unit (rules.md 17): what runs is not suddenly ten thousand times dearer."""
    async with machine.life() as world:
        vm = await world.create()
        before = await world.money(vm)
        world.network.price_moves("10000")
        await world.services.expenses.reprice()
        assert [freeze.reason for freeze in world.services.freezes.standing] == [UNIT]
        assert await world.money(vm) == before
        await world.services.expenses.reprice()
        assert len(world.services.freezes.standing) == 1


async def test_without_an_answer_nothing_is_repriced(world: World) -> None:
    """Neither by the costs nor by the price."""
    vm = await world.create()
    before = await world.money(vm)
    world.network.cu_rate *= Decimal(3)
    world.network.fail("price", times=2)
    await world.services.expenses.reprice()
    assert await world.money(vm) == before
