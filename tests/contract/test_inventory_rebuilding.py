"""The inventory takes in what only the network knows, and keeps what it publishes."""

from datetime import timedelta

from aleph_agentd.adapters.store import SqlInventory
from aleph_agentd.domain.model import SignedMessage, VmState
from support.inventory import HOUR, NOW, a_hash, a_vm, allow, an_intent

pytest_plugins = ["support.store_fixtures"]

FORGETS = tuple(SignedMessage(a_hash(f"forget {n}"), f'{{"n": {n}}}') for n in range(3))


async def test_adopting_writes_row_money_and_kill_switches_in_one_step(inventory: SqlInventory) -> None:
    """And it is told."""
    vm = a_vm(state=VmState.RUNNING, broadcast_at=NOW)
    assert await inventory.adopt(vm, FORGETS, 7_000, NOW) == vm
    assert await inventory.get(vm.item_hash) == vm
    assert (await inventory.balances([vm.item_hash]))[vm.item_hash] == (7_000, 0)
    assert await inventory.next_forget(vm.item_hash) == FORGETS[0]
    assert [event.kind for event in await inventory.events(0, 10)] == ["adopted"]
    assert await inventory.next_due_at() == vm.expires_at


async def test_what_is_known_is_not_adopted_again(inventory: SqlInventory) -> None:
    """The row stays, and no money is bound twice."""
    known = await inventory.admit(an_intent(a_vm()), allow, NOW)
    adopted = await inventory.adopt(a_vm(state=VmState.RUNNING, name="other"), FORGETS, 7_000, NOW)
    assert adopted == known
    assert len(await inventory.ledger(10)) == 1


async def test_tombstones_that_may_come_to_life_are_named_the_longest_unchecked_first(
    inventory: SqlInventory,
) -> None:
    """Those that were posted, ended lately, and were never seen forgotten."""
    facts = {"state": VmState.FAILED, "broadcast_at": NOW, "ended_at": NOW}
    for seed, changes in {
        1: {"verified_at": NOW},
        2: {"verified_at": NOW - HOUR},
        3: {},
        4: {"broadcast_at": None},
        5: {"forgotten_at": NOW},
        6: {"ended_at": NOW - timedelta(days=31)},
        7: {"state": VmState.GONE},
    }.items():
        await inventory.adopt(a_vm(seed, **(facts | changes)), (), 0, NOW)
    found = await inventory.unproven(NOW - timedelta(days=30), 10)
    assert [vm.item_hash for vm in found] == [a_hash(3), a_hash(2), a_hash(1)]
    assert [vm.item_hash for vm in await inventory.unproven(NOW - timedelta(days=30), 1)] == [a_hash(3)]


async def test_an_extension_is_unpublished_until_it_is_confirmed(inventory: SqlInventory) -> None:
    """The newest one of a lease that runs; its bytes are kept, and the last date is known."""
    vm = a_vm(state=VmState.RUNNING, lease_version=3)
    await inventory.adopt(vm, (), 0, NOW)
    await inventory.adopt(a_vm(2, state=VmState.RUNNING), (), 0, NOW)
    await inventory.adopt(a_vm(3, state=VmState.DESTROYING, lease_version=2), (), 0, NOW)
    assert await inventory.unpublished(10) == [vm]
    assert await inventory.last_extension_at() is None
    first, second = (SignedMessage(a_hash(n), f"{n}") for n in ("a", "b"))
    await inventory.keep_extension(vm.item_hash, 2, first, NOW)
    await inventory.keep_extension(vm.item_hash, 2, second, NOW + HOUR)
    assert await inventory.extension(vm.item_hash, 2) == second
    assert await inventory.extension(vm.item_hash, 1) is None
    assert await inventory.last_extension_at() == NOW + HOUR
    assert await inventory.unpublished(10) == [vm]
    await inventory.confirm_extension(vm.item_hash, 2, NOW)
    assert await inventory.unpublished(10) == []
