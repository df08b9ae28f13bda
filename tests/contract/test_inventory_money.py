"""The inventory admits, reserves and settles in single steps: no race, no crash and no repetition makes money."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from aleph_agentd.domain.errors import Conflict, Denied
from aleph_agentd.domain.model import Exposure, VmState
from aleph_agentd.ports import Inventory, Remembered, StaleRow
from support.inventory import HOUR, NOW, RESERVE, a_hash, a_vm, allow, an_intent

pytest_plugins = ["support.store_fixtures"]

S = VmState


def deny(exposure: Exposure) -> None:
    """A policy that allows nothing."""
    raise Denied("no", code="rule")


async def test_a_denied_create_leaves_nothing_behind(inventory: Inventory) -> None:
    """The policy's own words come out, and no row, money, request or event stays."""
    with pytest.raises(Denied) as denied:
        await inventory.admit(an_intent(a_vm(), request_key="k"), deny, NOW)
    assert denied.value.code == "rule"
    assert await inventory.get(a_hash(1)) is None
    assert await inventory.remembered("k") is None
    assert await inventory.ledger(10) == []
    assert await inventory.events(0, 10) == []
    assert (await inventory.exposure("s1", NOW)) == Exposure(0, 0, 0, 0, 0, 0, 0)


async def test_concurrent_creates_never_pass_a_limit_together(inventory: Inventory) -> None:
    """Twenty at once against room for three: exactly three."""

    def three(exposure: Exposure) -> None:
        if exposure.live_vms >= 3 or exposure.reserved_units + RESERVE > 3 * RESERVE:
            raise Denied("full")

    tries = [inventory.admit(an_intent(a_vm(n)), three, NOW) for n in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, Denied) for result in results) == 17
    assert await inventory.count([S.INTENDED]) == 3
    assert (await inventory.exposure("s1", NOW)).reserved_units == 3 * RESERVE


async def test_the_policy_sees_what_is_bound_inside_the_admission(inventory: Inventory) -> None:
    """Exactly what `exposure` says at that moment."""
    await inventory.admit(an_intent(a_vm(1)), allow, NOW)
    seen: list[Exposure] = []
    outside = await inventory.exposure("s1", NOW)
    await inventory.admit(an_intent(a_vm(2)), seen.append, NOW)
    assert seen == [outside]
    assert outside.names == {"vm-1"}


async def test_the_same_message_is_not_admitted_twice(inventory: Inventory) -> None:
    """A hash is one VM."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    with pytest.raises(Conflict):
        await inventory.admit(an_intent(a_vm()), allow, NOW)
    assert (await inventory.balances([a_hash(1)]))[a_hash(1)] == (RESERVE, 0)


async def test_a_request_key_admits_one_create_only(inventory: Inventory) -> None:
    """Its further attempts share the key; another create under it conflicts."""
    first = an_intent(a_vm(1, create_id="c"), request_key="k", request_hash="h")
    await inventory.admit(first, allow, NOW)
    assert await inventory.remembered("k") == Remembered("aleph_create_vm", "h", "c")
    again = an_intent(a_vm(2, create_id="c"), request_key="k", request_hash="h")
    await inventory.admit(again, allow, NOW)
    for other in (a_vm(3, create_id="d"), a_vm(3, create_id="c")):
        with pytest.raises(Conflict):
            await inventory.admit(an_intent(other, request_key="k", request_hash="other"), allow, NOW)
    assert await inventory.count([S.INTENDED]) == 2


async def test_the_first_answer_of_a_request_stays(inventory: Inventory) -> None:
    """An answer fills the open request; neither a later one nor another tool's replaces it."""
    await inventory.admit(an_intent(a_vm(1, create_id="c"), request_key="k", request_hash="h"), allow, NOW)
    asked = Remembered("aleph_create_vm", "h", "c", {"status": "running", "ports": [22]})
    await inventory.remember("k", replace(asked, tool="aleph_destroy_vm"), NOW)
    await inventory.remember("k", asked, NOW)
    await inventory.remember("k", replace(asked, answer={"status": "other"}), NOW)
    assert await inventory.remembered("k") == asked
    await inventory.remember("read", Remembered("aleph_list_my_vms", "x", answer={}), NOW)
    assert await inventory.remembered("read") == Remembered("aleph_list_my_vms", "x", answer={})


async def test_the_exposure_counts_as_the_rows_themselves_do(inventory: Inventory) -> None:
    """Its sums agree with `Vm` over rows in every state."""
    later = NOW + HOUR / 2
    made = [
        a_vm(n, session=f"s{n % 2}", rate=Decimal(n + 1) / 7, created_at=NOW - n * HOUR / 6) for n in range(6)
    ]
    for vm in made:
        await inventory.admit(an_intent(vm), allow, NOW)
        if vm.item_hash != made[0].item_hash:
            await inventory.move(vm.item_hash, S.PROVISIONING, "sent", NOW, broadcast_at=vm.created_at)
    await inventory.move(made[1].item_hash, S.DESTROYING, "asked", NOW)
    await inventory.settle(made[1].item_hash, "forgotten", NOW, forgotten_at=NOW)
    await inventory.move(made[2].item_hash, S.DESTROYING, "asked", NOW)
    await inventory.move(made[3].item_hash, S.FAILED, "refused", NOW)
    rows = (await inventory.known([vm.item_hash for vm in made])).values()
    billing = [vm for vm in rows if vm.billing]
    spent = made[1].item_hash
    seen = await inventory.exposure("s1", later)
    cost = (await inventory.balances([spent]))[spent][1]
    assert seen.live_vms == len(billing) == 4
    assert seen.session_live_vms == sum(vm.session == "s1" for vm in billing) == 1
    assert seen.burn_units_per_hour == sum(vm.hourly_units for vm in billing)
    assert seen.reserved_units == 5 * RESERVE
    unbilled = sum(RESERVE - vm.cost_units(later) for vm in rows if vm.item_hash != spent)
    assert unbilled <= seen.unbilled_units <= unbilled + len(rows)
    assert seen.spent_day_units == cost > 0
    assert seen.session_units == cost + 2 * RESERVE
    assert seen.creates_last_hour == 3
    assert seen.names == {"vm-0", "vm-1", "vm-2", "vm-4", "vm-5"}


async def test_settling_releases_and_books_once(inventory: Inventory) -> None:
    """A second settle notes facts and moves no money."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    await inventory.move(a_hash(1), S.PROVISIONING, "sent", NOW, broadcast_at=NOW)
    await inventory.move(a_hash(1), S.DESTROYING, "expired", NOW)
    settled = await inventory.settle(a_hash(1), "forgotten", NOW + HOUR, forgotten_at=NOW + HOUR)
    cost = settled.cost_units(NOW + 9 * HOUR)
    assert cost == 14_250
    assert await inventory.balances([a_hash(1), a_hash(2)]) == {a_hash(1): (0, cost), a_hash(2): (0, 0)}
    again = await inventory.settle(a_hash(1), "again", NOW + 2 * HOUR, last_error="late")
    assert (again.last_error, again.forgotten_at) == ("late", NOW + HOUR)
    assert await inventory.balances([a_hash(1)]) == {a_hash(1): (0, cost)}
    assert [move.cause for move in await inventory.ledger(10, a_hash(1))] == [
        "settled: forgotten",
        "settled: forgotten",
        "admitted",
    ]
    day = (await inventory.exposure("s1", NOW + 24 * HOUR)).spent_day_units
    assert day == cost
    assert (await inventory.exposure("s1", NOW + 26 * HOUR)).spent_day_units == 0


async def test_an_attempt_that_never_left_costs_nothing(inventory: Inventory) -> None:
    """Transition and release are one step: a crash cannot leave its reservation open."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    failed = await inventory.settle(a_hash(1), "refused", NOW + HOUR, to=S.FAILED, ended_at=NOW + HOUR)
    assert (failed.state, failed.cause) == (S.FAILED, "refused")
    assert await inventory.balances([a_hash(1)]) == {a_hash(1): (0, 0)}
    again = await inventory.settle(a_hash(1), "refused again", NOW + HOUR, to=S.FAILED)
    assert again.cause == "refused"
    assert len(await inventory.ledger(10)) == 3
    with pytest.raises(StaleRow):
        await inventory.settle(a_hash(1), "no", NOW, to=S.RUNNING)


async def test_an_extension_moves_the_end_and_reserves(inventory: Inventory) -> None:
    """A new version of the lease; the request is remembered with it."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    asked = Remembered("aleph_extend_vm", "h", answer={"ok": True})
    vm = await inventory.extend(a_hash(1), NOW + 3 * HOUR, 500, allow, NOW, "s2", ("k", asked))
    assert (vm.expires_at, vm.lease_version) == (NOW + 3 * HOUR, 2)
    assert await inventory.get(a_hash(1)) == vm
    assert await inventory.remembered("k") == asked
    assert (await inventory.exposure("s2", NOW)).session_units == 500
    with pytest.raises(Conflict):
        await inventory.extend(a_hash(1), NOW + 4 * HOUR, 500, allow, NOW, "s2", ("k", asked))
    assert await inventory.balances([a_hash(1)]) == {a_hash(1): (RESERVE + 500, 0)}


async def test_each_session_pays_for_what_it_reserved(inventory: Inventory) -> None:
    """One that extends another's VM cannot spend past its own limit; the VM's own session pays an overrun."""
    await inventory.admit(an_intent(a_vm(), reserve_units=10_000), allow, NOW)
    await inventory.extend(a_hash(1), NOW + 3 * HOUR, 1_000, allow, NOW, "s2")
    await inventory.move(a_hash(1), S.PROVISIONING, "sent", NOW, broadcast_at=NOW)
    vm = await inventory.settle(a_hash(1), "forgotten", NOW + HOUR, forgotten_at=NOW + HOUR)
    assert vm.cost_units(NOW) == 14_250
    assert (await inventory.exposure("s2", NOW)).session_units == 1_000
    assert (await inventory.exposure("s1", NOW)).session_units == 13_250


async def test_an_expired_lease_is_never_revived(inventory: Inventory) -> None:
    """Neither at its last instant, nor in teardown, nor by an end that is not later (rules.md 6)."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    for end, now in ((NOW + 2 * HOUR, NOW + HOUR), (NOW + HOUR, NOW), (NOW + HOUR / 2, NOW)):
        with pytest.raises(StaleRow):
            await inventory.extend(a_hash(1), end, 1, allow, now, "s1")
    await inventory.move(a_hash(1), S.DESTROYING, "asked", NOW)
    with pytest.raises(StaleRow):
        await inventory.extend(a_hash(1), NOW + 2 * HOUR, 1, allow, NOW, "s1")
    assert await inventory.balances([a_hash(1)]) == {a_hash(1): (RESERVE, 0)}


async def test_a_denied_extension_changes_nothing(inventory: Inventory) -> None:
    """Neither lease nor ledger nor request."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    asked = ("k", Remembered("aleph_extend_vm", "h"))
    with pytest.raises(Denied):
        await inventory.extend(a_hash(1), NOW + 2 * HOUR, 1, deny, NOW, "s1", asked)
    assert await inventory.get(a_hash(1)) == a_vm()
    assert await inventory.remembered("k") is None


async def test_a_reservation_stays_bound_until_it_is_settled(inventory: Inventory) -> None:
    """A tombstone whose billing was never seen to end still counts."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    await inventory.move(a_hash(1), S.FAILED, "refused", NOW)
    seen = await inventory.exposure("s1", NOW + timedelta(days=30))
    assert (seen.live_vms, seen.reserved_units, seen.unbilled_units) == (0, RESERVE, RESERVE)


async def test_an_extension_of_an_outdated_lease_is_refused(inventory: Inventory) -> None:
    """Two that read the same row do not both reserve (rules.md 6)."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    tries = [
        inventory.extend(a_hash(1), NOW + n * HOUR, 100, allow, NOW, "s1", lease_version=1) for n in (2, 3)
    ]
    first, second = await asyncio.gather(*tries, return_exceptions=True)
    assert isinstance(second, StaleRow)
    assert await inventory.get(a_hash(1)) == first
    assert await inventory.balances([a_hash(1)]) == {a_hash(1): (RESERVE + 100, 0)}


async def test_what_came_back_to_life_is_paid_for_until_it_ends_again(inventory: Inventory) -> None:
    """The difference, once (rules.md 15)."""
    await inventory.admit(an_intent(a_vm()), allow, NOW)
    await inventory.move(a_hash(1), S.DESTROYING, "asked", NOW, broadcast_at=NOW)
    await inventory.settle(a_hash(1), "forgotten", NOW + HOUR, forgotten_at=NOW + HOUR)
    await inventory.note(a_hash(1), forgotten_at=None)
    again = await inventory.settle(a_hash(1), "again", NOW + 3 * HOUR, forgotten_at=NOW + 3 * HOUR)
    assert (await inventory.balances([a_hash(1)]))[a_hash(1)] == (0, again.cost_units(NOW + 9 * HOUR))
    movements = len(await inventory.ledger(100))
    await inventory.settle(a_hash(1), "once more", NOW + 4 * HOUR)
    assert len(await inventory.ledger(100)) == movements
