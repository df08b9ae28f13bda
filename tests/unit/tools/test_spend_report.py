"""aleph_spend_report: three words on money, each from its own source, in little room."""

import json
from typing import Any

from aleph_agentd.tools.toolbox import Toolbox
from support.world import ALICE, BOB, World


async def _report(world: World, caller: Any = ALICE, **arguments: Any) -> dict[str, Any]:
    return await Toolbox(world.services).call("aleph_spend_report", arguments, caller=caller)


async def test_what_is_reserved_estimated_and_observed_is_told_apart(world: World) -> None:
    """Of this session's VMs; the sums are everybody's."""
    await world.create(name="mine")
    await world.create(BOB, name="other")
    world.clock.forward(hours=2)
    report = await _report(world)
    [vm] = report["vms"]
    assert (vm["name"], vm["live"], vm["reserved"], vm["observed"]) == ("mine", True, 6.4125, None)
    assert 2.85 <= vm["estimated"] < 2.86
    assert report["today_credits"] == report["reserved_credits"] == 12.825
    assert report["session_credits"] == 6.4125
    [row] = [row for row in await world.rows() if row.name == "mine"]
    await world.end(row, 3)
    world.clock.forward(hours=2)
    await world.services.expenses.run()
    report = await _report(world)
    [vm] = report["vms"]
    assert (vm["live"], vm["reserved"]) == (False, 0)
    assert 2.85 <= vm["estimated"] < 2.86
    assert 2.84 < vm["observed"] < 2.86
    assert report["observed_credits"] == vm["observed"]


async def test_a_report_is_paged_and_small(machine: Any) -> None:
    """Below 2 kB, every VM once."""
    async with machine.life(max_concurrent_vms=100, max_creates_per_hour=100) as world:
        for n in range(11):
            await world.create(name=f"{n:02}-{'n' * 40}")
        seen: list[str] = []
        after = ""
        while True:
            report = await _report(world, after=after)
            assert len(json.dumps(report)) < 2000
            seen += [vm["name"][:2] for vm in report["vms"]]
            if not report["more"]:
                break
            after = report["vms"][-1]["item_hash"]
        assert seen == [f"{n:02}" for n in reversed(range(11))]
        assert report["total"] == 11


async def test_a_report_needs_no_network(world: World) -> None:
    """It is read from the inventory."""
    await world.create()
    for method in ("balance", "price", "expenses", "burn", "rates"):
        world.network.fail(method, 10)
    assert (await _report(world))["total"] == 1
