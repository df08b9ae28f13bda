"""What is counted, and under which names."""

from typing import Any

import pytest

from aleph_agentd.domain.metrics import Family
from aleph_agentd.ports import NetworkTrouble
from aleph_agentd.services.measuring import About, Measuring
from aleph_agentd.services.meters import Meters, Stopwatch, metered
from support.world import World


class Node:
    """A port with one call that works, one that does not, and a fact."""

    trouble = "none"

    async def status(self, item_hash: str) -> str:
        """Works."""
        return item_hash

    async def post(self, _message: object) -> None:
        """Fails."""
        raise NetworkTrouble("POST https://evil.example/x?\n", "no answer within 9 s")


def _samples(families: Any, name: str) -> dict[tuple[str, ...], float]:
    found: list[Family] = [family for family in families if family.name == name]
    return {
        tuple(value for _, value in sample.labels): sample.value
        for family in found
        for sample in family.samples
        if sample.suffix in ("", "_count")
    }


async def test_calls_to_the_network_and_their_failures_are_counted_by_the_port_s_own_names() -> None:
    """A node's address or words are no label: they could be any number of them."""
    meters = Meters()
    node = metered(Node(), "messages", meters)
    assert await node.status("abc") == "abc"
    for _ in range(2):
        with pytest.raises(NetworkTrouble):
            await node.post(None)
    assert node.trouble == "none"
    families = list(meters.families())
    assert _samples(families, "network_calls_total") == {("messages.status",): 1, ("messages.post",): 2}
    assert _samples(families, "network_errors_total") == {("messages.status",): 0, ("messages.post",): 2}


def test_a_stopwatch_counts_answers_and_refusals() -> None:
    """Both take time."""
    meters = Meters()
    with Stopwatch(meters, "status"):
        pass
    with pytest.raises(ValueError, match="no"), Stopwatch(meters, "status"):
        raise ValueError("no")
    families = list(meters.families())
    assert _samples(families, "rpc_refused_total") == {("status", ""): 1}
    [family] = [family for family in families if family.name == "rpc_seconds"]
    assert [s.value for s in family.samples if s.suffix == "_count"] == [2]


def _measuring(world: World) -> Measuring:
    return Measuring(world.services, Meters(), About("9.9", world.clock.now(), lambda: 2))


async def _figures(world: World) -> dict[str, dict[tuple[str, ...], float]]:
    families = await _measuring(world).families()
    return {family.name: _samples([family], family.name) for family in families}


async def test_the_figures_tell_vms_money_and_the_next_deadline(world: World) -> None:
    """As `status` does."""
    vm = await world.create(name="box\n\x1b[31m")
    found = await _figures(world)
    assert found["vms"][("running",)] == 1
    assert found["next_deadline_seconds"] == {(): vm.expires_at.timestamp()}
    assert found["oldest_overdue_seconds"] == {(): 0}
    assert found["reserved_credits"][()] == pytest.approx(6.4125)
    assert found["burn_credits_per_hour"][()] == pytest.approx(1.425)
    assert found["balance_credits"][()] > 0
    assert found["budget_left_credits"] == {}
    assert found["sessions"] == {(): 2}
    assert found["sweep_age_seconds"] == {}
    await world.services.sweeper.run()
    world.clock.forward(seconds=30)
    found = await _figures(world)
    assert found["sweep_age_seconds"][()] == pytest.approx(30)
    assert found["sweep_findings"][("orphans",)] == 0


async def test_a_vm_that_outlives_its_lease_is_overdue_until_its_billing_has_ended(world: World) -> None:
    """Also while its teardown is ordered and fails: then it still costs money."""
    vm = await world.create()
    world.clock.forward(seconds=4 * 3600 + 60)
    assert (await _figures(world))["oldest_overdue_seconds"][()] == pytest.approx(60, abs=1)
    world.network.fail("post", 20)
    await world.services.teardown.order(vm.item_hash, "its lease ended")
    await world.passes(vm, 8)
    found = await _figures(world)
    assert found["oldest_overdue_seconds"][()] > 60
    assert found["stuck_vms"] == {(): 1}
    assert found["teardown_failures"][()] >= 6
    assert found["teardown_attempts_total"][()] >= 6
    world.network.heal()
    await world.passes(vm, 3)
    found = await _figures(world)
    assert (found["oldest_overdue_seconds"][()], found["stuck_vms"][()]) == (0, 0)
    assert found["next_deadline_seconds"] == {}


async def test_a_scrape_sums_up_the_rows_only_when_one_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand leases would cost an idle daemon half a percent of a core."""
    measuring = Measuring(world.services, Meters(), About("9.9", world.clock.now(), lambda: 2))
    await measuring.families()
    counted = world.inventory.count
    asked: list[object] = []

    async def count(states: object, *more: Any) -> int:
        asked.append(states)
        return await counted(states, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(world.inventory, "count", count)
    assert _samples(await measuring.families(), "vms")[("running",)] == 0
    assert asked == []
    await world.create()
    assert _samples(await measuring.families(), "vms")[("running",)] == 1
    assert asked
