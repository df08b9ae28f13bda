"""What devnet tells of every VM, from its own books alone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aleph_devnet.clock import iso
from aleph_devnet.spans import clipped, length, merged, without
from support.local_network import LocalNetwork, local_network

HOUR = 3600


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[LocalNetwork]:
    """A network without SSH servers."""
    async with local_network(tmp_path, crns=2, ssh=False) as network:
        yield network


async def leased(net: LocalNetwork, hours: float = 1, **changes: Any) -> str:
    """A VM whose metadata names the end of its lease."""
    end = iso(net.network.clock.now() + hours * HOUR)
    changes = {"ssh_keys": ["key of a wish"], "requirements": net.on_crn(0), **changes}
    return await net.create(metadata={"expires_at": end}, **changes)


async def figures(net: LocalNetwork, *rows: str, **excuses: Any) -> dict[str, Any]:
    """As the lever tells them."""
    return dict(await net.control("figures", {"rows": rows, "excuses": excuses}))


async def forget(net: LocalNetwork, item_hash: str) -> None:
    """End its billing."""
    assert (await net.post(await net.signed_forget(item_hash)))[0] == 200


async def test_a_vm_without_an_ssh_server_runs_and_has_a_port(net: LocalNetwork) -> None:
    """Only a number, which costs no socket."""
    shown = await net.running(await leased(net))
    assert shown["running"]
    assert shown["networking"]["mapped_ports"]["22"]["host"] >= 24_000


async def test_an_ended_vm_has_lived_past_nothing(net: LocalNetwork) -> None:
    """Its lease was longer."""
    vm = await leased(net)
    await forget(net, vm)
    told = await figures(net, vm)
    assert (told["vms"], told["past_lease_h"], told["late_h"]) == (1, 0, 0)
    assert (told["lost"], told["double"], told["without_row"]) == ([], [], [])


async def test_what_is_alive_after_its_lease_is_late_and_lost(net: LocalNetwork) -> None:
    """Until it is forgotten; and what no inventory knows was charged without a row."""
    vm = await leased(net)
    await net.advance(3 * HOUR)
    told = await figures(net)
    assert told["late_h"] == pytest.approx(2, abs=0.01)
    assert told["lost"] == told["without_row"] == [vm]
    assert told["without_row_units"] == told["units"] > 0


async def test_an_extension_moves_the_end_of_a_lease(net: LocalNetwork) -> None:
    """The highest of its entries counts."""
    vm = await leased(net)
    now = net.network.clock.now()
    entries = {f"{vm}:1": iso(now + HOUR), f"{vm}:2": iso(now + 3 * HOUR)}
    client = await net.sdk()
    await client.create_aggregate("aleph-agentd-leases", entries, sync=True)
    await net.advance(2 * HOUR)
    assert (await figures(net, vm))["past_lease_h"] == 0


async def test_time_in_which_the_ccn_could_not_be_reached_is_excused(net: LocalNetwork) -> None:
    """An hour of the two."""
    vm = await leased(net)
    await net.advance(HOUR)
    await net.fault({"drop": "before"}, node="ccn")
    await net.advance(HOUR)
    await net.ask("DELETE", "/devnet/faults")
    await net.advance(HOUR)
    await forget(net, vm)
    told = await figures(net, vm)
    assert told["past_lease_h"] == pytest.approx(2, abs=0.01)
    assert told["unreachable_h"] == pytest.approx(1, abs=0.01)
    assert told["late_h"] == pytest.approx(1, abs=0.01)


async def test_a_forgotten_vm_on_a_dead_crn_lives_on_with_an_excuse(net: LocalNetwork) -> None:
    """It is not lost: nobody can reach it, and nobody pays for it."""
    vm = await leased(net)
    await net.running(vm)
    await net.control("faults", {"crn": net.crn_hash(), "down": True})
    await forget(net, vm)
    await net.advance(2 * HOUR)
    told = await figures(net, vm)
    assert told["past_lease_h"] == told["unreachable_h"] == pytest.approx(1, abs=0.02)
    assert (told["billed_past_lease_h"], told["lost"]) == (0, [])


async def test_an_excuse_of_whoever_asks_is_told_by_its_name(net: LocalNetwork) -> None:
    """What it does not cover is late."""
    vm = await leased(net)
    begun = net.network.clock.now()
    await net.advance(3 * HOUR)
    told = await figures(net, vm, asleep=[[begun + HOUR, begun + 2 * HOUR]])
    assert told["excused_h"] == {"asleep": pytest.approx(1, abs=0.01)}
    assert told["late_h"] == pytest.approx(1, abs=0.01)


async def test_two_vms_of_one_wish_at_the_same_time_are_a_double_create(net: LocalNetwork) -> None:
    """One after the other are not."""
    first = await leased(net)
    await forget(net, first)
    second, third = await leased(net), await leased(net)
    other = await leased(net, ssh_keys=["key of another wish"])
    assert (await figures(net, first, second, third, other))["double"] == [third]


def test_spans_are_cut_joined_and_measured() -> None:
    """No second is counted twice."""
    assert clipped([(0, 2), (3, 5)], 1) == [(1, 2), (3, 5)]
    assert clipped([(0, 1)], 1) == []
    assert merged([(3, 5), (0, 2), (1, 3), (7, 8)]) == [(0, 5), (7, 8)]
    assert without([(0, 10)], [(2, 3), (5, 20)]) == [(0, 2), (3, 5)]
    assert length([(0, 2), (1, 4)]) == 4
