"""The inventory notices that it was lost or put back, and books what only the network knows (rules.md 7)."""

from datetime import timedelta
from pathlib import Path

import pytest

from aleph_agentd.adapters.store import SqlBackups, SqlInventory, sqlite_url
from aleph_agentd.domain.errors import Unavailable
from aleph_agentd.domain.model import Expense, PublishedEnd, VmState
from support.inventory import HOUR, NOW, RESERVE, a_hash, a_vm, allow, an_intent
from support.postgres import Postgres

pytest_plugins = ["support.store_fixtures"]


async def test_starts_are_counted_on_from_the_larger_count(inventory: SqlInventory) -> None:
    """A fresh one is no loss."""
    assert await inventory.starts() is None
    assert await inventory.count_start(0, NOW) == 1
    assert await inventory.count_start(1, NOW) == 2
    assert await inventory.count_start(1, NOW) == 3, "ahead of the file: its last start was cut"
    assert await inventory.restored() is None


@pytest.mark.parametrize(
    ("starts", "counted", "why"),
    [(2, 3, "copy"), (2, None, "gone"), (0, 1, "new"), (0, 9, "new")],
)
async def test_a_count_that_is_behind_leaves_a_mark(
    inventory: SqlInventory, starts: int, counted: int | None, why: str
) -> None:
    """Which stays as it is until everything is known, and is told once."""
    for n in range(starts):
        await inventory.count_start(n, NOW)
    after = await inventory.count_start(counted, NOW)
    assert after == max(starts, counted or 0) + 1
    marked = await inventory.restored()
    assert marked and marked.since == NOW and why in marked.why
    await inventory.count_start(after, NOW + HOUR)
    assert await inventory.mark_restored("again", NOW + HOUR) == marked
    assert [event.kind for event in await inventory.events(0, 10)] == ["restoring"]
    assert await inventory.count_in([], NOW) == 0
    assert await inventory.restored() is None
    assert [event.kind for event in await inventory.events(0, 10)] == ["restoring", "restored"]


async def test_an_intent_that_was_not_sent_counts_as_possibly_sent(inventory: SqlInventory) -> None:
    """Only an intent: what is known of the others is known."""
    await inventory.admit(an_intent(a_vm(1)), allow, NOW)
    await inventory.admit(an_intent(a_vm(2)), allow, NOW)
    await inventory.move(a_hash(2), VmState.DESTROYING, "test", NOW)
    await inventory.mark_restored("test", NOW + HOUR)
    intended, ending = await inventory.get(a_hash(1)), await inventory.get(a_hash(2))
    assert intended and intended.broadcast_at == NOW
    assert ending and ending.broadcast_at is None


async def test_a_lease_follows_what_was_published(inventory: SqlInventory) -> None:
    """The difference is reserved; an older or known extension changes nothing, and none revives."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    moved = await inventory.follow(a_hash(1), PublishedEnd(3, NOW + 3 * HOUR), NOW)
    assert (moved.expires_at, moved.lease_version) == (NOW + 3 * HOUR, 4)
    for n in (2, 3):
        assert await inventory.follow(a_hash(1), PublishedEnd(n, NOW + 9 * HOUR), NOW) == moved
    reserved, _ = (await inventory.balances([a_hash(1)]))[a_hash(1)]
    assert reserved == RESERVE + 2 * 14_250
    assert await inventory.next_due_at() == NOW + 3 * HOUR
    ending = await inventory.move(a_hash(1), VmState.DESTROYING, "test", NOW)
    assert await inventory.follow(a_hash(1), PublishedEnd(4, NOW + 4 * HOUR), NOW) == ending


async def test_an_expense_is_booked_once_and_only_without_a_row_of_ours(inventory: SqlInventory) -> None:
    """On its own date; what is reserved or settled is accounted for."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    late = NOW - timedelta(hours=23)
    booked = [
        Expense("a.0", late, a_hash("gone"), 100),
        Expense("a.1", NOW, a_hash("gone"), 10),
        Expense("b.0", NOW, "", 1),
        Expense("c.0", NOW, a_hash(1), 9_999),
    ]
    assert await inventory.count_in(booked, NOW) == 111
    assert await inventory.count_in([*booked, Expense("a.2", NOW, a_hash("gone"), 5)], NOW) == 5
    assert (await inventory.exposure("", NOW)).spent_day_units == 116
    assert (await inventory.exposure("", NOW + timedelta(hours=2))).spent_day_units == 16


async def test_what_was_booked_by_the_network_is_not_booked_again_by_its_end(inventory: SqlInventory) -> None:
    """A VM may turn up after its first expense was counted: its reservation is released all the same."""
    await inventory.count_in([Expense("a.0", NOW, a_hash(1), 1_000)], NOW)
    vm = a_vm(state=VmState.RUNNING, broadcast_at=NOW)
    await inventory.adopt(vm, (), RESERVE, NOW)
    await inventory.settle(a_hash(1), "test", NOW + HOUR, forgotten_at=NOW + HOUR)
    assert await inventory.balances([a_hash(1)]) == {a_hash(1): (0, 14_250)}


async def test_a_copy_knows_that_it_is_one(tmp_path: Path) -> None:
    """Also one that is put back in the life in which it was made, or on another machine."""
    inventory = await SqlInventory.open(sqlite_url(tmp_path / "inventory.db"))
    starts = await inventory.count_start(0, NOW)
    copy = tmp_path / "put back.db"
    with await SqlBackups(inventory, tmp_path).open() as source:
        copy.write_bytes(source.read())
    for counted in (starts, None):
        fresh = tmp_path / f"{counted}.db"
        fresh.write_bytes(copy.read_bytes())
        restored = await SqlInventory.open(sqlite_url(fresh))
        await restored.count_start(counted, NOW)
        assert await restored.restored() is not None
        await restored.close()
    assert await inventory.starts() == starts
    await inventory.close()


@pytest.mark.fleet
async def test_a_server_s_database_is_copied_by_its_own_tools(server: Postgres, tmp_path: Path) -> None:
    """And nothing is left behind."""
    inventory = await SqlInventory.open(server.database())
    with pytest.raises(Unavailable) as refused:
        await SqlBackups(inventory, tmp_path).open()
    assert "pg_dump" in refused.value.hint
    assert list(tmp_path.iterdir()) == []
    await inventory.close()
