"""What happens to VMs when the credits run out."""

from pytest import raises

from support.local_network import LocalNetwork

CU_DAY = 342_000


async def test_under_one_day_of_cost_a_vm_is_removing_and_runs_on(net: LocalNetwork) -> None:
    """[obs] PROCESSED → REMOVING (`reason: credit_insufficient`) …; the VM runs on during REMOVING."""
    item_hash = await poor_vm(net)
    await net.running(item_hash)
    await net.advance(3 * 3600)
    _, shown = await net.get(f"/api/v0/messages/{item_hash}")
    assert (shown["status"], shown["reason"]) == ("removing", "credit_insufficient")
    assert shown["message"]["content"]["address"] == net.address("unfunded")
    assert (await net.executions())[item_hash]["running"]


async def test_a_removing_vm_is_still_listed_and_charged(net: LocalNetwork) -> None:
    """Default statuses: processed + removing; REMOVING resources are charged on."""
    item_hash = await poor_vm(net)
    await net.advance(3 * 3600)
    _, body = await net.get("/api/v0/messages.json", msgTypes="INSTANCE")
    assert [m["item_hash"] for m in body["messages"]] == [item_hash]
    assert (await net.control("state"))["charges"][0]["to"] is None
    assert (await net.get(f"/api/v0/price/{item_hash}"))[0] == 200


async def test_a_top_up_brings_it_back(net: LocalNetwork) -> None:
    """[obs] a top-up moves it back."""
    item_hash = await poor_vm(net)
    await net.advance(3 * 3600)
    await net.control("credits", {"address": net.address("unfunded"), "units": CU_DAY})
    assert await net.status(item_hash) == "processed"


async def test_a_day_later_it_is_removed_for_good_and_no_longer_charged(net: LocalNetwork) -> None:
    """[obs] a daily collector makes it REMOVED (terminal)."""
    item_hash = await poor_vm(net)
    await net.running(item_hash)
    await net.advance(30 * 3600)
    _, shown = await net.get(f"/api/v0/messages/{item_hash}")
    assert (shown["status"], shown["reason"]) == ("removed", "credit_insufficient")
    await net.control("credits", {"address": net.address("unfunded"), "units": 10 * CU_DAY})
    await net.advance(2 * 86_400)
    assert await net.status(item_hash) == "removed"
    charge = (await net.control("state"))["charges"][0]
    assert charge["to"] - charge["from"] < 30 * 3600
    with raises(KeyError):
        (await net.executions())[item_hash]


async def test_the_newest_go_first_until_the_rest_can_be_paid(net: LocalNetwork) -> None:
    """Only as many VMs are removed as the balance cannot carry for a day."""
    await net.control("credits", {"address": net.address("unfunded"), "units": 2 * CU_DAY + 1000})
    old, new = await net.create("unfunded"), await net.create("unfunded")
    await net.advance(2 * 3600)
    assert [await net.status(item_hash) for item_hash in (old, new)] == ["processed", "removing"]


async def test_a_crn_stops_vms_when_nothing_is_left(net: LocalNetwork) -> None:
    """[obs] The CRN stops VMs only near zero balance."""
    item_hash = await poor_vm(net)
    await net.running(item_hash)
    await net.control("credits", {"address": net.address("unfunded"), "units": -2 * CU_DAY})
    await net.advance(60)
    assert item_hash not in await net.executions()


async def poor_vm(net: LocalNetwork) -> str:
    """A VM whose payer has just enough."""
    await net.control("credits", {"address": net.address("unfunded"), "units": CU_DAY + 20_000})
    return await net.create("unfunded")
