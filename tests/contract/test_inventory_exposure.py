"""What the inventory says is bound is what its rows say, to the unit."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from aleph_agentd.adapters.store import SqlInventory, ledger, sqlite_url, vms
from aleph_agentd.domain import money
from aleph_agentd.domain.model import Share, Vm, VmState
from support.inventory import HOUR, NOW, a_hash, a_vm, allow, an_intent

pytest_plugins = ["support.store_fixtures"]

MICROSECONDS = st.integers(-(10**14), 10**14).map(lambda n: timedelta(microseconds=n))
ROW = st.fixed_dictionaries(
    {
        "rate": st.decimals("0.0001", 10**6, places=12).map(lambda rate: rate / 7),
        "reserve": st.integers(0, 10**15),
        "state": st.sampled_from(list(VmState)),
        "broadcast": st.none() | MICROSECONDS,
        "forgotten": st.none() | MICROSECONDS,
        "project": st.sampled_from(["", "/p", "/p/q", "/p_", "/px"]),
    }
)


def _vm(n: int, row: dict[str, Any]) -> Vm:
    times = {
        f"{name}_at": None if row[name] is None else NOW + row[name] for name in ("broadcast", "forgotten")
    }
    return a_vm(n, rate=row["rate"], project=row["project"], state=row["state"], **times)


def _write(connection: Connection, rows: list[Vm], reserves: list[int]) -> None:
    for vm, units in zip(rows, reserves, strict=True):
        vms.add(connection, vm)
        ledger.reserve(connection, vm, vm.session, units, "admitted", NOW)


@given(st.lists(ROW, max_size=6), MICROSECONDS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
async def test_sums_of_money_are_exact_whatever_the_rows_hold(
    tmp_path_factory: Any, rows: list[dict[str, Any]], later: timedelta
) -> None:
    """Equal to the rows' own words, never negative, and without a float in between."""
    folder: Path = tmp_path_factory.mktemp("exposure")
    inventory = await SqlInventory.open(sqlite_url(folder / "inventory.db"))
    try:
        now = NOW + later
        live = [_vm(n, row) for n, row in enumerate(rows)]
        reserves = [row["reserve"] for row in rows]
        await inventory._transact(lambda c: _write(c, live, reserves))
        seen = await inventory.exposure("s1", now, ["/p"])
        mine = [vm for vm in live if vm.project in ("/p", "/p/q")]
        assert seen.reserved_units == sum(reserves)
        assert seen.unbilled_units == sum(
            max(0, units - vm.cost_units(now)) for vm, units in zip(live, reserves, strict=True)
        )
        assert seen.burn_units_per_hour == sum(vm.hourly_units for vm in live if vm.billing)
        assert seen.shares["/p"].live_vms == sum(vm.billing for vm in mine)
        assert seen.shares["/p"].burn_units_per_hour == sum(vm.hourly_units for vm in mine if vm.billing)
        assert seen.shares["/p"].day_units == sum(
            r["reserve"] for r in rows if r["project"] in ("/p", "/p/q")
        )
    finally:
        await inventory.close()


async def test_a_share_counts_what_was_spent_in_a_day_and_tried_in_an_hour(inventory: SqlInventory) -> None:
    """Of its own directory alone, until it is a day and an hour old."""
    for n, project in enumerate(["/p", "/p/q", "/other"]):
        await inventory.admit(an_intent(a_vm(n, project=project), reserve_units=20_000), allow, NOW)
    await inventory.move(a_hash(0), VmState.DESTROYING, "asked", NOW, broadcast_at=NOW)
    await inventory.settle(a_hash(0), "forgotten", NOW + HOUR, forgotten_at=NOW + HOUR)
    soon = await inventory.exposure("", NOW + HOUR / 2, ["/p", "/none"])
    assert soon.shares == {"/p": Share(1, 34_250, 14_250, 2), "/none": Share(0, 0, 0, 0)}
    later = await inventory.exposure("", NOW + 26 * HOUR, ["/p"])
    assert later.shares == {"/p": Share(1, 20_000, 14_250, 0)}


@given(st.floats(1e-9, 8760, allow_nan=False))
def test_hours_become_whole_seconds_that_cover_them(hours: float) -> None:
    """A begun second counts; less than a second is added."""
    seconds = money.whole_s(hours)
    assert 0 <= seconds - Decimal(str(hours)) * 3600 < 1
