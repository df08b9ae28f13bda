"""The inventory keeps rows exactly, moves them only legally, and finds them again."""

from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from aleph_agentd.adapters.store import SqlInventory
from aleph_agentd.adapters.store.schema import vms
from aleph_agentd.domain.errors import NotFound
from aleph_agentd.domain.leases import due
from aleph_agentd.domain.model import LEASED, LIVE, TOMBSTONES, Vm, VmState
from aleph_agentd.ports import Inventory, StaleRow
from support.inventory import HOUR, NOW, a_hash, a_vm, allow, an_intent

pytest_plugins = ["support.store_fixtures"]

S = VmState


async def admitted(inventory: Inventory, *all_of: Vm) -> None:
    """Rows as they were admitted."""
    for vm in all_of:
        await inventory.admit(an_intent(vm), allow, NOW)


async def running(inventory: Inventory, *all_of: Vm) -> None:
    """Rows that run."""
    await admitted(inventory, *all_of)
    for vm in all_of:
        await inventory.move(vm.item_hash, S.PROVISIONING, "sent", NOW, broadcast_at=NOW)
        await inventory.move(vm.item_hash, S.RUNNING, "up", NOW)


def test_every_field_of_a_vm_has_a_column() -> None:
    """A field that were added to the model alone would be lost without a word."""
    assert set(vms.c.keys()) == {field.name for field in fields(Vm)} | {"due_at"}


async def test_a_row_comes_back_exactly_as_it_was_written(inventory: Inventory) -> None:
    """Instants to the microsecond, rates to the last digit, text of any script."""
    vm = a_vm(
        name="été",
        purpose="it's \u200b 100% _done_\nüber",
        rate=Decimal("0.1000000000000000000000000001"),
        broadcast_at=NOW - timedelta(microseconds=1),
        uid=1000,
        ipv6="::1",
    )
    await admitted(inventory, vm)
    assert await inventory.get(vm.item_hash) == vm


async def test_instants_of_any_zone_are_stored_in_utc(inventory: Inventory) -> None:
    """The same instant, whatever the offset."""
    elsewhere = (NOW + HOUR).astimezone(timezone(timedelta(hours=5, minutes=30)))
    await admitted(inventory, a_vm(expires_at=elsewhere))
    row = await inventory.get(a_hash(1))
    assert row and row.expires_at == NOW + HOUR
    assert row.expires_at.utcoffset() == timedelta(0)


async def test_a_naive_time_is_refused_and_nothing_is_written(inventory: Inventory) -> None:
    """A time without a zone is a mistake, not a guess."""
    with pytest.raises(Exception, match="time zone"):
        await admitted(inventory, a_vm(created_at=datetime(2026, 1, 1)))
    assert await inventory.count(list(S)) == 0


async def test_text_that_no_database_can_hold_does_not_stop_a_create(inventory: Inventory) -> None:
    """Lone surrogates and NUL come in through JSON; they become U+FFFD."""
    await admitted(inventory, a_vm(purpose="a\ud800b\0c😀"))
    row = await inventory.get(a_hash(1))
    assert row and row.purpose == "a\ufffdb\ufffdc😀"


@pytest.mark.parametrize("to", [S.RUNNING, S.GONE, S.INTENDED])
async def test_an_illegal_transition_raises_and_changes_nothing(inventory: Inventory, to: VmState) -> None:
    """From intended a VM can only go on, end or fail."""
    await admitted(inventory, a_vm())
    with pytest.raises(StaleRow) as refused:
        await inventory.move(a_hash(1), to, "no", NOW, ssh_at=NOW)
    assert refused.value.vm == await inventory.get(a_hash(1)) == a_vm()
    assert [event.kind for event in await inventory.events(0, 10)] == ["intended"]


async def test_a_transition_stores_its_facts_and_its_event_together(inventory: Inventory) -> None:
    """The cause is on the row and in the event."""
    await admitted(inventory, a_vm())
    moved = await inventory.move(a_hash(1), S.PROVISIONING, "broadcast", NOW, broadcast_at=NOW)
    assert moved == await inventory.get(a_hash(1))
    assert (moved.state, moved.cause, moved.broadcast_at) == (S.PROVISIONING, "broadcast", NOW)
    event = (await inventory.events(0, 10))[-1]
    assert (event.kind, event.text, event.item_hash, event.at) == (
        "provisioning",
        "broadcast",
        a_hash(1),
        NOW,
    )


async def test_a_transition_of_an_outdated_lease_is_refused(inventory: Inventory) -> None:
    """The reaper that read the row before an extension must not reap it (rules.md 6)."""
    await running(inventory, a_vm())
    before = await inventory.get(a_hash(1))
    assert before
    await inventory.extend(a_hash(1), NOW + 2 * HOUR, 1, allow, NOW, "s1")
    with pytest.raises(StaleRow):
        await inventory.move(a_hash(1), S.DESTROYING, "expired", NOW, lease_version=before.lease_version)
    moved = await inventory.move(a_hash(1), S.DESTROYING, "expired", NOW, lease_version=2)
    assert moved.state is S.DESTROYING


@pytest.mark.parametrize("fact", ["expires_at", "state", "item_hash", "lease_version", "no_such_fact"])
async def test_facts_cannot_change_a_lease_or_an_identity(inventory: Inventory, fact: str) -> None:
    """Leases move only through extend, states only through move."""
    await admitted(inventory, a_vm())
    with pytest.raises(TypeError):
        await inventory.note(a_hash(1), **{fact: S.GONE})
    assert await inventory.get(a_hash(1)) == a_vm()


async def test_a_note_is_taken_only_in_the_states_it_was_meant_for(inventory: Inventory) -> None:
    """An address that arrives after teardown began is not noted."""
    await admitted(inventory, a_vm())
    noted = await inventory.note(a_hash(1), states=LEASED, host_ipv4="10.0.0.1", ssh_port=24000)
    assert noted == await inventory.get(a_hash(1)) == replace(a_vm(), host_ipv4="10.0.0.1", ssh_port=24000)
    with pytest.raises(StaleRow):
        await inventory.note(a_hash(1), states=TOMBSTONES, host_ipv4="10.0.0.2")


async def test_a_missing_row_is_not_found(inventory: Inventory) -> None:
    """Reading says None; changing says NotFound."""
    assert await inventory.get(a_hash(9)) is None
    assert await inventory.create_message(a_hash(9)) is None
    assert await inventory.next_forget(a_hash(9)) is None
    for change in (
        inventory.move(a_hash(9), S.GONE, "", NOW),
        inventory.note(a_hash(9), attempts=1),
        inventory.settle(a_hash(9), "", NOW),
        inventory.extend(a_hash(9), NOW, 0, allow, NOW, ""),
        inventory.add_forgets(a_hash(9), ()),
    ):
        with pytest.raises(NotFound):
            await change


async def test_due_rows_come_in_the_order_that_the_domain_says(inventory: Inventory) -> None:
    """What may be billed first, leases before retries, the dearest first."""
    made = [a_vm(n, rate=Decimal(rate)) for n, rate in enumerate(["9", "10.5", "100", "2", "7"])]
    await running(inventory, *made)
    await inventory.move(made[0].item_hash, S.DESTROYING, "late", NOW, destroy_at=NOW)
    await inventory.move(made[2].item_hash, S.DESTROYING, "late", NOW, destroy_at=NOW)
    await inventory.settle(made[2].item_hash, "forgotten", NOW, forgotten_at=NOW)
    await inventory.move(made[3].item_hash, S.DESTROYING, "", NOW, next_attempt_at=NOW + 9 * HOUR)
    rows = list((await inventory.known([vm.item_hash for vm in made])).values())
    later = NOW + 2 * HOUR
    found = await inventory.due(later, 10)
    assert found == due(rows, later)
    assert [vm.name for vm in found] == ["vm-1", "vm-4", "vm-0", "vm-2"]
    assert await inventory.due(later, 2) == found[:2]


async def test_the_next_due_time_follows_every_change(inventory: Inventory) -> None:
    """The alarm stands on it."""
    assert await inventory.next_due_at() is None
    await running(inventory, a_vm(1), a_vm(2, expires_at=NOW + 3 * HOUR))
    assert await inventory.next_due_at() == NOW + HOUR
    await inventory.extend(a_hash(1), NOW + 4 * HOUR, 1, allow, NOW, "s1")
    assert await inventory.next_due_at() == NOW + 3 * HOUR
    await inventory.move(a_hash(2), S.DESTROYING, "asked", NOW, destroy_at=NOW)
    assert await inventory.next_due_at() == NOW
    assert await inventory.next_due_at(NOW) == NOW + 4 * HOUR
    assert await inventory.next_due_at(NOW + 4 * HOUR) is None
    assert await inventory.due(NOW - HOUR, 10) == []


async def test_a_reference_is_a_hash_then_a_name_then_a_prefix(inventory: Inventory) -> None:
    """A tombstone is found by its hash, and by its prefix when no living VM has it."""
    old, new, other = a_vm(1, name="web"), a_vm(2, name="web"), a_vm(3, name="db")
    await admitted(inventory, old)
    await inventory.move(old.item_hash, S.FAILED, "refused", NOW)
    await admitted(inventory, new, other)
    assert await inventory.find("web") == [new]
    assert [vm.item_hash for vm in await inventory.find(old.item_hash)] == [old.item_hash]
    assert await inventory.find(new.item_hash.upper()) == [new]
    assert await inventory.find(new.item_hash[:8]) == [new]
    assert [vm.name for vm in await inventory.find(old.item_hash[:8])] == ["web"]
    assert await inventory.find(new.item_hash[:7]) == []


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        " ",
        "%",
        "________",
        "%%%%%%%%%%",
        "' OR 1=1 --",
        "\0",
        "\ud800" * 8,
        "a\nb",
        "f" * 10_000_000,
        "*" * 8,
    ],
)
async def test_hostile_references_find_nothing(inventory: Inventory, hostile: str) -> None:
    """No wildcard, quote or size gets through."""
    await admitted(inventory, a_vm())
    assert await inventory.find(hostile) == []


async def test_pages_walk_over_all_rows_newest_first(inventory: Inventory) -> None:
    """Rows of one instant are not lost between two pages."""
    made = [a_vm(n, created_at=NOW + timedelta(seconds=n // 3)) for n in range(10)]
    await admitted(inventory, *made)
    await inventory.move(made[5].item_hash, S.FAILED, "refused", NOW)
    seen, after = list[Vm](), ""
    while page := await inventory.page(states=list(LIVE), limit=4, after=after):
        seen += page
        after = page[-1].item_hash
    expected = [vm for vm in made if vm != made[5]]
    assert seen == sorted(expected, key=lambda vm: (vm.created_at, vm.item_hash), reverse=True)
    assert await inventory.count(list(LIVE)) == 9
    assert await inventory.count([S.FAILED]) == 1
    with pytest.raises(NotFound):
        await inventory.page(states=list(LIVE), limit=4, after=a_hash("nothing"))


async def test_the_attempts_of_a_create_come_as_they_were_written_whatever_the_clock_said(
    inventory: Inventory,
) -> None:
    """Each is a row of its own; the clock was set back between two of them, and the hashes say nothing."""
    await admitted(inventory, a_vm(9))
    for n in range(4):
        vm = a_vm(n, create_id="c", name=f"n{n}", created_at=NOW - n * HOUR)
        await inventory.admit(an_intent(vm), allow, NOW - n * HOUR)
    assert [vm.name for vm in await inventory.attempts_of("c")] == ["n0", "n1", "n2", "n3"]


async def test_the_lease_that_ends_first_is_found_however_many_are_newer(inventory: Inventory) -> None:
    """Rows that are being torn down, or are gone, hold no lease."""
    assert await inventory.next_end() is None
    made = [a_vm(n, created_at=NOW + n * HOUR, expires_at=NOW + (9 - n % 5) * HOUR) for n in range(10)]
    await admitted(inventory, *made)
    await inventory.move(made[4].item_hash, S.DESTROYING, "asked", NOW, destroy_at=NOW, next_attempt_at=NOW)
    await inventory.move(made[9].item_hash, S.FAILED, "refused", NOW, ended_at=NOW)
    found = await inventory.next_end()
    assert found is not None
    assert found.item_hash in {made[3].item_hash, made[8].item_hash}


async def test_what_is_stuck_is_found_however_many_are_newer(inventory: Inventory) -> None:
    """The longest stuck first; one that has failed only a few times is not."""
    made = [a_vm(n, created_at=NOW + n * HOUR) for n in range(5)]
    await admitted(inventory, *made)
    for vm, attempts, ordered in zip(made, (6, 5, 9, 6), (2, 0, 1, 3), strict=False):
        at = NOW + ordered * HOUR
        await inventory.move(vm.item_hash, S.DESTROYING, "asked", NOW, destroy_at=at, attempts=attempts)
    assert [vm.name for vm in await inventory.stuck(10)] == ["vm-2", "vm-0", "vm-3"]
    assert [vm.name for vm in await inventory.stuck(1)] == ["vm-2"]
    assert all(vm.stuck for vm in await inventory.stuck(10))


async def test_kill_switches_are_offered_one_by_one_until_they_are_burnt(inventory: Inventory) -> None:
    """The same one again and again, until it is known not to work (rules.md 3)."""
    intent = an_intent(a_vm(), forgets=2)
    await inventory.admit(intent, allow, NOW)
    first, second = intent.forgets
    assert await inventory.create_message(a_hash(1)) == intent.create
    assert await inventory.next_forget(a_hash(1)) == first
    assert await inventory.next_forget(a_hash(1)) == first
    await inventory.burn_forget(a_hash(1), first.item_hash, NOW)
    assert await inventory.next_forget(a_hash(1)) == second
    await inventory.burn_forget(a_hash(1), second.item_hash, NOW)
    assert await inventory.next_forget(a_hash(1)) is None
    fresh = replace(first, item_hash=a_hash("fresh"))
    await inventory.add_forgets(a_hash(1), [fresh])
    assert await inventory.next_forget(a_hash(1)) == fresh


async def test_events_are_read_from_where_one_stopped(inventory: Inventory) -> None:
    """Ids grow; the newest ten thousand are kept."""
    first = await inventory.record("note", "", "one", NOW)
    second = await inventory.record("note", a_hash(1), "two", NOW)
    assert await inventory.events(0, 10) == [first, second]
    assert await inventory.events(first.id, 10) == [second]
    assert await inventory.events(0, 1) == [first]
    assert await inventory.events(second.id, 10) == []


async def test_reaping_orders_exactly_the_ended_leases_the_dearest_first(inventory: SqlInventory) -> None:
    """One transaction, one event each; what still runs, and what ends already, is left alone."""
    for seed, factor, hours in ((1, 1, 1), (2, 4, 1), (3, 2, 1), (4, 1, 3)):
        vm = a_vm(seed, rate=Decimal(4) * factor, created_at=NOW, expires_at=NOW + hours * HOUR)
        await inventory.admit(an_intent(vm), allow, NOW)
    ended = await inventory.reap(NOW + HOUR, NOW + HOUR, 2)
    assert [vm.item_hash for vm in ended] == [a_hash(2), a_hash(3)]
    assert {vm.state for vm in ended} == {VmState.DESTROYING}
    assert {vm.destroy_at for vm in ended} == {NOW + HOUR}
    assert [await inventory.get(vm.item_hash) for vm in ended] == ended
    assert await inventory.due(NOW + HOUR, 10) == [await inventory.get(a_hash(1))]
    assert [vm.item_hash for vm in await inventory.reap(NOW + HOUR, NOW + HOUR, 2)] == [a_hash(1)]
    assert await inventory.reap(NOW + HOUR, NOW + HOUR, 2) == []
    kinds = [(event.kind, event.item_hash) for event in await inventory.events(0, 100)]
    assert kinds[4:] == [("destroying", a_hash(2)), ("destroying", a_hash(3)), ("destroying", a_hash(1))]


async def test_hurrying_makes_postponed_teardowns_due(inventory: SqlInventory) -> None:
    """All of them, or those whose erase waits for one CRN; never what is not being torn down."""
    for seed, url in ((1, "https://a.example"), (2, "https://a.example"), (3, "https://b.example")):
        await inventory.admit(an_intent(a_vm(seed, crn_url=url)), allow, NOW)
        await inventory.move(a_hash(seed), VmState.DESTROYING, "over", NOW, next_attempt_at=NOW + HOUR)
    await inventory.admit(an_intent(a_vm(4, crn_url="https://a.example")), allow, NOW)
    await inventory.note(a_hash(1), forgotten_at=NOW)
    assert await inventory.hurry(NOW, "https://a.example") == 1
    assert [vm.item_hash for vm in await inventory.due(NOW, 10)] == [a_hash(1)]
    assert await inventory.hurry(NOW) == 2
    assert {vm.item_hash for vm in await inventory.due(NOW, 10)} == {a_hash(1), a_hash(2), a_hash(3)}
