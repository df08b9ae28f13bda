"""Prices, balances, the 24 h rule, charges and the histories that show them."""

from decimal import Decimal

import pytest
from aiohttp import ClientResponseError
from aleph.sdk.client.services.pricing import PricingEntity

from aleph_devnet.credits import Charge
from aleph_devnet.history import booked
from support.local_network import UNKNOWN, LocalNetwork

CU_DAY = 342_000
CU_HOUR = 14_250


async def test_one_cu_costs_14250_units_an_hour(net: LocalNetwork) -> None:
    """[obs] price in credits **per second**: 1 CU = 3.958333…/s."""
    client = await net.sdk()
    message, _ = await client.create_instance(**net.plan(), sync=True)
    estimate = await client.get_estimated_price(message.content)
    assert estimate.cost is not None
    assert estimate.cost.startswith("3.958333333")
    assert estimate.payment_type == "credit"
    price = await client.get_program_price(message.item_hash)
    assert price.cost == estimate.cost
    assert round(Decimal(price.cost) * 3600) == CU_HOUR


async def test_the_price_of_a_forgotten_or_removed_vm_is_410(net: LocalNetwork) -> None:
    """[obs] Forgotten or removed → 410."""
    forgotten, removed = await net.create(), await net.create()
    await net.post(await net.signed_forget(forgotten))
    await net.control(f"messages/{removed}", {"status": "removed"})
    for item_hash in (forgotten, removed):
        with pytest.raises(ClientResponseError) as error:
            await (await net.sdk()).get_program_price(item_hash)
        assert error.value.status == 410
    assert (await net.get(f"/api/v0/price/{UNKNOWN}"))[0] == 404


async def test_disk_beyond_what_the_units_include_costs_extra(net: LocalNetwork) -> None:
    """Storage beyond the included disk about 0.18/MiB/h."""
    await net.create(rootfs_size=20_480 + 10_000)
    _, costs = await net.get("/api/v0/costs", address=net.address())
    hourly = Decimal(costs["summary"]["total_cost_credit"]) * 3600
    assert round(hourly) == CU_HOUR + 1800


async def test_a_create_needs_a_day_of_everything_that_is_not_forgotten(net: LocalNetwork) -> None:
    """[obs] 24 h rule: balance ≥ 86,400 × (per-second cost of all un-forgotten VMs + the new one)."""
    await net.control("credits", {"address": net.address("unfunded"), "units": 2 * CU_DAY})
    first = await net.create("unfunded")
    # The first has been charged a little since, so two days of both are no longer there.
    with pytest.raises(ValueError, match="Unknown error code 6"):
        await net.create("unfunded")
    await net.post(await net.signed_forget(first, role="unfunded"))
    await net.create("unfunded")


async def test_a_whole_day_of_credits_is_just_enough(net: LocalNetwork) -> None:
    """1 CU needs 342,000 network credits."""
    await net.control("credits", {"address": net.address("unfunded"), "units": CU_DAY - 1})
    with pytest.raises(ValueError, match="Unknown error code 6"):
        await net.create("unfunded")
    await net.control("credits", {"address": net.address("unfunded"), "units": 1})
    await net.create("unfunded")


async def test_an_unknown_address_has_zeros(net: LocalNetwork) -> None:
    """[obs] unknown address → 200 with zeros."""
    balance = await (await net.sdk()).get_balances("0x" + "12" * 20)
    assert (balance.credit_balance, balance.balance) == (0, 0)


async def test_addresses_are_case_sensitive(net: LocalNetwork) -> None:
    """[obs] addresses are case-sensitive: a lower-case address is another account."""
    client = await net.sdk()
    assert (await client.get_balances(net.address())).credit_balance == 100_000_000
    assert (await client.get_balances(net.address().lower())).credit_balance == 0


async def test_a_vm_is_charged_though_no_crn_runs_it(net: LocalNetwork) -> None:
    """[obs] An un-forgotten VM is charged and counted, even if no CRN runs it."""
    await net.create()
    await net.advance(3600)
    left = (await (await net.sdk()).get_balances(net.address())).credit_balance
    assert 100_000_000 - CU_HOUR - 60 <= left <= 100_000_000 - CU_HOUR


async def test_balances_are_deposits_less_charges(net: LocalNetwork) -> None:
    """The truth adds up to the unit, at any time."""
    for _ in range(3):
        await net.create(vcpus=2, memory=4096, rootfs_size=30_001)
        await net.advance(777.7)
    await net.control("credits", {"address": net.address(), "units": 5})
    state = await net.control("state")
    assert state["balances"][net.address()] == 100_000_005 - sum(c["units"] for c in state["charges"])


async def test_history_shows_expenses_per_vm(net: LocalNetwork) -> None:
    """[obs] rows with `payment_method = "credit_expense"`, negative amount, `origin_ref` = the VM hash."""
    item_hash = await net.create()
    await net.advance(2 * 3600 + 60)
    await net.post(await net.signed_forget(item_hash))
    history = await (await net.sdk()).get_credit_history(net.address())
    rows = [row for row in history.credit_history if row.payment_method == "credit_expense"]
    assert {row.origin_ref for row in rows} == {item_hash}
    assert [row.credit_index for row in rows] == [2, 1, 0]
    charged = (await net.control("state"))["charges"][0]["units"]
    assert sum(row.amount for row in rows) == -charged
    assert rows[0].message_timestamp >= rows[-1].message_timestamp


async def test_no_history_is_404(net: LocalNetwork) -> None:
    """[obs] No history → **404**."""
    with pytest.raises(ClientResponseError) as error:
        await (await net.sdk()).get_credit_history(net.address("unfunded"))
    assert error.value.status == 404


async def test_costs_are_per_second_and_up_to_now(net: LocalNetwork) -> None:
    """`GET /api/v0/costs?address=OWNER&payment_type=credit&include_details=1`."""
    item_hash = await net.create()
    await net.advance(600)
    query = {"address": net.address(), "payment_type": "credit", "include_details": 1}
    _, body = await net.get("/api/v0/costs", **query)
    (row,) = body["resources"]
    assert (row["item_hash"], row["owner"]) == (item_hash, net.address())
    assert row["cost_credit"].startswith("3.958333")
    assert row["consumed_credits"] == (await net.control("state"))["charges"][0]["units"] >= 2375
    await net.post(await net.signed_forget(item_hash))
    assert (await net.get("/api/v0/costs", **query))[1]["resources"] == []


async def test_consumed_credits_lag(net: LocalNetwork) -> None:
    """`GET /api/v0/messages/{h}/consumed_credits`, which lags."""
    item_hash = await net.create()
    await net.advance(1800)
    path = f"/api/v0/messages/{item_hash}/consumed_credits"
    assert (await net.get(path))[1]["consumed_credits"] == 0
    await net.advance(1801)
    assert (await net.get(path))[1]["consumed_credits"] == CU_HOUR


async def test_the_pricing_aggregate_has_the_real_numbers(net: LocalNetwork) -> None:
    """CU = 1 vCPU, 2048 MiB, 20480 MiB disk; tiers 1, 2, 4, 6, 8, 12 (no 3); GPU 43,125 and 86,250."""
    pricing = await (await net.sdk()).pricing.get_pricing_aggregate()
    instance = pricing[PricingEntity.INSTANCE]
    assert [tier.compute_units for tier in instance.tiers] == [1, 2, 4, 6, 8, 12]
    assert instance.compute_unit.model_dump() == {"vcpus": 1, "memory_mib": 2048, "disk_mib": 20_480}
    prices = {entity: pricing[entity].price["compute_unit"].credit for entity in list(PricingEntity)[4:]}
    assert [int(price) for price in prices.values()] == [14_250, 28_500, 43_125, 86_250]


async def test_the_settings_aggregate_can_be_read(net: LocalNetwork) -> None:
    """Keys `pricing` and `settings` of the aggregate address."""
    settings = await (await net.sdk()).network_settings.get_settings_aggregate()
    assert settings.last_crn_version == "1.7.2"
    assert settings.compatible_gpus


async def test_a_published_price_is_the_price(net: LocalNetwork) -> None:
    """Always read the live pricing aggregate: the network follows it too."""
    network = await net.sdk("network")
    pricing = await network.fetch_aggregate(net.address("network"), "pricing")
    pricing["instance"]["price"]["compute_unit"]["credit"] = "28500"
    await network.create_aggregate("pricing", {"instance": pricing["instance"]}, sync=True)
    await net.create()
    _, costs = await net.get("/api/v0/costs", address=net.address())
    assert costs["summary"]["total_cost_credit"].startswith("7.91666")


def test_history_rows_add_up_to_the_charge() -> None:
    """Every unit is booked once, however the rows are cut."""
    charge = Charge("h", "0x", 14_250_001, 1_000, 1_000 + 7 * 3_600_000 + 1)
    rows = booked(charge, 10**12)
    assert len(rows) == 8
    assert sum(units for _, units in rows) == charge.units(10**12)
