"""The audit log in the store: with the change that it tells of or not at all, in order, and rotated."""

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.adapters.store import SqlInventory
from aleph_agentd.adapters.store import audit as table
from aleph_agentd.adapters.store import backlog as waiting
from aleph_agentd.domain import audit
from aleph_agentd.domain.acting import BY_ITSELF, Act, acting, on_behalf_of
from aleph_agentd.domain.audit import GENESIS, Check, Deed, Entry, Link
from aleph_agentd.domain.errors import Denied
from aleph_agentd.domain.model import Exposure, VmState
from aleph_agentd.ports import StaleRow, StoreTrouble
from support.inventory import HOUR, NOW, Query, Unwritable, a_hash, a_vm, allow, an_intent

pytest_plugins = ["support.store_fixtures"]

ALICE = Act("agent uid=1000 pid=7", "alice", "alice/k1")


def a_deed(text: object, act: Act = BY_ITSELF, kind: str = "call") -> Deed:
    """Something that was done."""
    return audit.deed(NOW, kind, str(text), act)


async def entries(inventory: SqlInventory) -> list[Entry]:
    """All that are kept."""
    return await inventory.audit_page(0, 10_000)


async def told(inventory: SqlInventory) -> list[tuple[str, str]]:
    """Kind and text of each."""
    return [(entry.deed.kind, entry.deed.text) for entry in await entries(inventory)]


async def problem(inventory: SqlInventory, *anchors: Link) -> str:
    """What is wrong with the chain."""
    check = Check(await inventory.audit_base(), anchors)
    check.add(await entries(inventory))
    return check.verdict().problem


async def test_the_life_of_a_vm_is_told_in_order(inventory: SqlInventory) -> None:
    """Each change of state, the decisions with what was reserved, the end of the billing."""
    vm = a_vm()
    await inventory.admit(an_intent(vm), allow, NOW)
    await inventory.move(vm.item_hash, VmState.PROVISIONING, "sent", NOW, broadcast_at=NOW)
    await inventory.move(vm.item_hash, VmState.RUNNING, "up", NOW)
    await inventory.extend(vm.item_hash, NOW + 2 * HOUR, 5000, allow, NOW, "s1")
    await inventory.reap(NOW + 2 * HOUR, NOW + 2 * HOUR, 10)
    await inventory.settle(vm.item_hash, "forgotten", NOW + 3 * HOUR, forgotten_at=NOW + 3 * HOUR)
    await inventory.move(vm.item_hash, VmState.GONE, "erased", NOW + 3 * HOUR, ended_at=NOW + 3 * HOUR)
    assert await told(inventory) == [
        (
            "decision",
            "create vm-1: allowed by every rule; 2.00 credits (US$0.02) reserved, until 2026-11-23T13:00:00Z",
        ),
        ("intended", "asked for"),
        ("provisioning", "sent"),
        ("running", "up"),
        (
            "decision",
            "extend vm-1: allowed by every rule; 0.50 credits (US$0.005) reserved, until 2026-11-23T14:00:00Z",
        ),
        ("extended", "until 2026-11-23T14:00:00Z"),
        ("destroying", "its lease ended"),
        ("settled", "forgotten"),
        ("gone", "erased"),
    ]
    assert {entry.deed.item_hash for entry in await entries(inventory)} == {vm.item_hash}
    assert await problem(inventory) == ""


async def test_an_adopted_vm_is_told_of_too(inventory: SqlInventory) -> None:
    """On behalf of whoever adopted it."""
    with on_behalf_of(ALICE):
        await inventory.adopt(a_vm(cause="adopted by the owner"), (), 100, NOW)
    [entry] = await entries(inventory)
    assert (entry.deed.kind, entry.deed.text) == ("adopted", "adopted by the owner")
    assert (entry.deed.actor, entry.deed.session, entry.deed.request_key) == tuple(vars(ALICE).values())


async def test_a_change_that_was_refused_leaves_no_entry(inventory: SqlInventory) -> None:
    """By the policy, by the state of the row, or by a mistake."""

    def deny(_: Exposure) -> None:
        raise Denied("no", code="daily_spend")

    with pytest.raises(Denied):
        await inventory.admit(an_intent(a_vm()), deny, NOW)
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    before = await entries(inventory)
    with pytest.raises(StaleRow):
        await inventory.move(a_hash(1), VmState.GONE, "too soon", NOW)
    with pytest.raises(Denied):
        await inventory.extend(a_hash(1), NOW + 2 * HOUR, 1, deny, NOW, "s1")
    with pytest.raises(TypeError):
        await inventory.move(a_hash(1), VmState.PROVISIONING, "wrong", NOW, lease_id="other")
    assert await entries(inventory) == before


@pytest.mark.parametrize("breaks", ["audit", "vms"])
async def test_entry_and_change_are_written_together_or_not_at_all(
    inventory: SqlInventory, unwritable: Unwritable, breaks: str
) -> None:
    """When either cannot be written, neither is; the next try writes both."""
    with unwritable(breaks):
        with pytest.raises(StoreTrouble):
            await inventory.admit(an_intent(a_vm()), allow, NOW)
        assert await inventory.get(a_hash(1)) is None
        assert await entries(inventory) == []
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    assert [kind for kind, _ in await told(inventory)] == ["decision", "intended"]


async def test_what_was_noted_before_a_change_is_written_before_it(inventory: SqlInventory) -> None:
    """In one transaction with it, so that what was signed is known when what was signed is."""
    inventory.audit(a_deed("first"))
    inventory.audit(a_deed("second"))
    await inventory.record("note", "", "third", NOW)
    inventory.audit(a_deed("fourth"))
    await inventory.write_audit()
    assert [text for _, text in await told(inventory)] == ["first", "second", "third", "fourth"]
    assert await problem(inventory) == ""


async def test_what_was_noted_is_not_lost_with_the_transaction_that_should_have_written_it(
    inventory: SqlInventory,
) -> None:
    """It keeps its place before what was noted since."""

    def deny(_: Exposure) -> None:
        raise Denied("no")

    inventory.audit(a_deed("first"))
    denied = asyncio.create_task(inventory.admit(an_intent(a_vm()), deny, NOW))
    await asyncio.sleep(0)
    inventory.audit(a_deed("second"))
    with pytest.raises(Denied):
        await denied
    await asyncio.sleep(0)
    await inventory.write_audit()
    assert [text for _, text in await told(inventory)] == ["first", "second"]


async def test_a_caller_that_is_cancelled_before_its_turn_takes_no_notes_along(
    inventory: SqlInventory,
) -> None:
    """Its transaction never runs; what it would have written for others comes later."""
    begun, go = threading.Event(), threading.Event()

    def slow(_: Exposure) -> None:
        begun.set()
        assert go.wait(10)

    running = asyncio.create_task(inventory.admit(an_intent(a_vm(1)), slow, NOW))
    await asyncio.to_thread(begun.wait, 10)
    inventory.audit(a_deed("noted"))
    waits = asyncio.create_task(inventory.record("note", "", "", NOW))
    await asyncio.sleep(0)
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    go.set()
    await running
    await inventory.write_audit()
    assert [kind for kind, _ in await told(inventory)] == ["decision", "intended", "call"]


async def test_an_entry_names_whose_transaction_it_was(inventory: SqlInventory) -> None:
    """Also of two that run at the same time; what follows from a change is nobody's."""
    told_to: list[str] = []
    inventory.on_change = lambda: told_to.append(acting().actor)

    async def change(actor: str) -> None:
        with on_behalf_of(Act(actor)):
            await inventory.record("note", "", actor, NOW)

    await asyncio.gather(*(change(f"actor {n}") for n in range(5)))
    assert all(entry.deed.actor == entry.deed.text for entry in await entries(inventory))
    assert set(told_to) == {"daemon"}


async def test_writing_what_is_noted_is_no_change_that_others_wait_for(inventory: SqlInventory) -> None:
    """Else every read would make the next one read the database again."""
    changes: list[int] = []
    inventory.on_change = lambda: changes.append(1)
    version = inventory.version
    inventory.audit(a_deed("read"))
    await inventory.write_audit()
    await inventory.write_audit()
    await asyncio.sleep(0)
    assert (inventory.version, changes) == (version, [])
    assert len(await entries(inventory)) == 1


async def test_repeats_are_counted_and_no_user_can_crowd_out_the_others(
    inventory: SqlInventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changed nothing may be many, of any number of processes; what changed something is an entry each."""
    monkeypatch.setattr(waiting, "MOST_COUNTABLE", 2)
    other = Act("agent uid=2 pid=2", "other")
    for n in range(6):
        flood = Act(f"agent uid=1 pid={n}", f"flood {n}")
        inventory.audit(a_deed("same", Act("agent uid=1 pid=0", "flood 0")), countable=True)
        inventory.audit(a_deed("read", flood), countable=True)
    inventory.audit(a_deed("create", flood))
    inventory.audit(a_deed("create", flood))
    inventory.audit(a_deed("read", other), countable=True)
    await inventory.write_audit()
    assert await told(inventory) == [
        ("call", "same (6 times)"),
        ("call", "read"),
        ("call", "create"),
        ("call", "create"),
        ("call", "read"),
        ("unlisted", "5 more were too many to be written one by one"),
    ]
    assert (await entries(inventory))[-1].deed.actor == "agent uid=1"


async def test_nobody_can_have_the_past_rotated_away_in_a_hurry(inventory: SqlInventory) -> None:
    """Only so many entries a second are a user's, however often a transaction makes room for more."""
    for second in range(3):
        for n in range(100):
            done = audit.deed(NOW + timedelta(seconds=second), "call", f"read {n}", ALICE)
            inventory.audit(done, countable=True)
            if n % 10 == 0:
                await inventory.write_audit()
        await inventory.write_audit()
    calls = [entry for entry in await entries(inventory) if entry.deed.kind == "call"]
    assert len(calls) == 3 * waiting.MOST_COUNTABLE
    assert len(await entries(inventory)) < 100


async def test_what_waits_is_bounded_while_nothing_can_be_written(
    inventory: SqlInventory, unwritable: Unwritable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest stay, the rest is counted, however often it is tried."""
    monkeypatch.setattr(waiting, "MOST", 3)
    with unwritable("audit"):
        for n in range(10):
            inventory.audit(a_deed(n))
            with pytest.raises(StoreTrouble):
                await inventory.write_audit()
            await asyncio.sleep(0)
    await inventory.write_audit()
    texts = [text for _, text in await told(inventory)]
    assert texts[:-1] == [str(n) for n in range(len(texts) - 1)]
    assert texts[-1] == f"{10 - (len(texts) - 1)} more were too many to be written one by one"
    assert len(texts) <= 3 + 4 + 1
    assert await problem(inventory) == ""


async def test_rotation_keeps_the_chain(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go in whole batches; the rest is sound from what the last of them was; also after a restart."""
    monkeypatch.setattr(audit, "KEPT", 20)
    monkeypatch.setattr(audit, "ROTATED_AT_ONCE", 10)
    inventory, anchors = await SqlInventory.open(database), list[Link]()
    for n in range(57):
        await inventory.record("note", "", str(n), NOW + timedelta(seconds=n))
        anchors.append(await inventory.audit_head())
        kept = await entries(inventory)
        assert len(kept) <= 30
        assert await problem(inventory, *anchors) == ""
    assert [entry.n for entry in kept] == list(range(31, 58))
    assert await inventory.audit_base() == anchors[29]
    await inventory.close()
    again = await SqlInventory.open(database)
    await again.record("note", "", "after", NOW)
    assert (await again.audit_head()).n == 58
    assert await problem(again, *anchors) == ""
    await again.close()


async def test_many_at_once_are_rotated_too(inventory: SqlInventory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch may be longer than what rotation takes."""
    monkeypatch.setattr(audit, "KEPT", 20)
    monkeypatch.setattr(audit, "ROTATED_AT_ONCE", 10)
    await inventory._transact(lambda c: table.append(c, [a_deed(n) for n in range(64)]))
    assert [entry.n for entry in await entries(inventory)] == list(range(41, 65))
    assert await problem(inventory) == ""


async def test_a_log_that_was_emptied_goes_on_from_its_base(inventory: SqlInventory, query: Query) -> None:
    """Its entries get numbers that were there before, with other hashes: an anchor shows it."""
    for n in range(3):
        await inventory.record("note", "", str(n), NOW)
    anchor = await inventory.audit_head()
    query("DELETE FROM audit")
    assert await inventory.audit_head() == GENESIS
    for n in range(3):
        await inventory.record("note", "", f"new {n}", NOW)
    assert await problem(inventory) == ""
    assert "entry 3 is not the one that was anchored" in await problem(inventory, anchor)


async def test_places_at_round_numbers_are_found(inventory: SqlInventory) -> None:
    """Behind the one that was anchored last."""
    for n in range(9):
        await inventory.record("note", "", str(n), NOW)
    hashes: dict[int, Any] = {entry.n: entry.hash for entry in await entries(inventory)}
    assert await inventory.audit_marks(0, 3) == [Link(n, hashes[n]) for n in (3, 6, 9)]
    assert await inventory.audit_marks(6, 3) == [Link(9, hashes[9])]


async def test_text_of_any_kind_comes_back_as_it_was_hashed(inventory: SqlInventory) -> None:
    """A lone surrogate, a NUL, a line break: what the database could not hold was never hashed."""
    await inventory.record("note\ud800", "\0", "a\nb\ud83d \U0001f600" + "x" * 3000, NOW)
    assert await problem(inventory) == ""
