"""What the inventory lets go, and what it never does."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aleph_agentd.adapters.store import SqlInventory
from aleph_agentd.domain.model import Expense, SignedMessage, VmState
from support.inventory import HOUR, NOW, RESERVE, Query, a_hash, a_vm, allow, an_intent

pytest_plugins = ["support.store_fixtures"]

DAY = timedelta(days=1)
LATER = NOW + 31 * DAY
"""When what ended at NOW may go."""


def count(query: Query, table: str) -> int:
    """How many rows the database itself has."""
    return int(query(f"SELECT count(*) FROM {table}")[0][0])


async def ended(inventory: SqlInventory, seed: object, at: datetime = NOW, **facts: Any) -> str:
    """A VM with all that belongs to one, over and verified; its hash."""
    vm = await inventory.admit(an_intent(a_vm(seed, created_at=at, broadcast_at=at)), allow, at)
    item_hash = vm.item_hash
    await inventory.keep_extension(item_hash, 1, SignedMessage(a_hash(f"extension {seed}"), "{}"), at)
    await inventory.move(item_hash, VmState.DESTROYING, "test", at)
    await inventory.settle(item_hash, "test", at + HOUR, forgotten_at=at + HOUR)
    facts = {"ended_at": at, "verified_at": at} | facts
    await inventory.move(item_hash, VmState.GONE, "test", at, **facts)
    return item_hash


async def may_go(inventory: SqlInventory) -> list[str]:
    """What may go a month later."""
    return [vm.item_hash for vm in await inventory.outlived(LATER - 30 * DAY, 100)]


async def test_a_tombstone_goes_with_everything_that_was_signed_for_it(
    inventory: SqlInventory, query: Query
) -> None:
    """Its movements of money stay."""
    item_hash = await ended(inventory, 1)
    kept = await ended(inventory, 2, LATER)
    assert await may_go(inventory) == [item_hash]
    before = await inventory.balances([item_hash])
    assert await inventory.remove([item_hash, kept], LATER - 30 * DAY) == 1
    assert await inventory.get(item_hash) is None and await inventory.get(kept) is not None
    assert [count(query, table) for table in ("vms", "signed_messages", "forgets", "extensions")] == [
        1,
        1,
        3,
        1,
    ]
    assert await inventory.balances([item_hash]) == before


async def test_what_is_not_proven_to_be_over_stays(inventory: SqlInventory) -> None:
    """Live, ending, stuck, gone and not looked up again, ended lately, or with money bound."""
    await inventory.admit(an_intent(a_vm("live")), allow, NOW)
    await inventory.admit(an_intent(a_vm("stuck", attempts=99)), allow, NOW)
    await inventory.move(a_hash("stuck"), VmState.DESTROYING, "test", NOW, ended_at=NOW)
    await ended(inventory, "unverified", verified_at=None)
    await ended(inventory, "lately", ended_at=NOW + 2 * DAY)
    await inventory.adopt(a_vm("bound", state=VmState.GONE, ended_at=NOW, verified_at=NOW), (), RESERVE, NOW)
    assert await may_go(inventory) == []
    everything = [vm.item_hash for vm in await inventory.page(states=list(VmState), limit=100)]
    assert len(everything) == 5
    assert await inventory.remove(everything, LATER - 30 * DAY) == 0


async def test_the_oldest_goes_first_and_failed_ones_go_too(inventory: SqlInventory) -> None:
    """At most as many as were asked for."""
    await ended(inventory, 1, NOW)
    await ended(inventory, 2, NOW - DAY)
    failed = a_vm(3, state=VmState.FAILED, ended_at=NOW - 2 * DAY)
    await inventory.adopt(failed, (), 0, NOW)
    assert await may_go(inventory) == [a_hash(3), a_hash(2), a_hash(1)]
    assert [vm.item_hash for vm in await inventory.outlived(LATER, 1)] == [a_hash(3)]


def sums(query: Query) -> dict[tuple[str, str], int]:
    """What was moved, by account and UTC day."""
    rows = query("SELECT account, at, units FROM ledger")
    found: dict[tuple[str, str], int] = {}
    for account, at, units in rows:
        day = f"{datetime.fromtimestamp(at / 1e6, UTC):%Y-%m-%d}"
        found[account, day] = found.get((account, day), 0) + units
    return {key: units for key, units in found.items() if units}


async def test_old_movements_are_summed_up_and_no_sum_changes(inventory: SqlInventory, query: Query) -> None:
    """Batch by batch; the VMs of one day share one movement for each account."""
    for n in range(10):
        await ended(inventory, n, NOW + (n % 2) * DAY)
    await inventory.count_in([Expense("a.0", NOW, "", 5)], NOW)
    await inventory.remove([a_hash(n) for n in range(10)], LATER)
    before, rows = sums(query), count(query, "ledger")
    went = 0
    while n := await inventory.sum_up(LATER, 3):
        went += n
    assert went == rows > 20
    assert sums(query) == before
    assert count(query, "ledger") == len(before) == 2
    exposure = await inventory.exposure("", NOW + 2 * HOUR)
    assert (exposure.reserved_units, exposure.unbilled_units) == (0, 0)
    assert exposure.spent_day_units > 0


async def test_movements_of_a_row_or_of_lately_stay_as_they_are(
    inventory: SqlInventory, query: Query
) -> None:
    """All of a VM's, or none."""
    await ended(inventory, "has a row")
    gone = await ended(inventory, "gone")
    await inventory.remove([gone], LATER)
    rows = count(query, "ledger")
    assert await inventory.sum_up(NOW + timedelta(minutes=30), 100) == 0
    assert count(query, "ledger") == rows
    assert await inventory.sum_up(LATER, 100) == rows // 2
    assert (await inventory.balances([a_hash("has a row")]))[a_hash("has a row")][1] > 0


async def test_an_expense_that_nobody_can_tell_is_still_booked_beside_a_summary(
    inventory: SqlInventory,
) -> None:
    """The summary does not stand in its way."""
    await inventory.count_in([Expense("a.0", NOW, "", 5)], NOW)
    assert await inventory.sum_up(LATER, 100) == 1
    assert await inventory.count_in([Expense("b.0", LATER, "", 7)], LATER) == 7
