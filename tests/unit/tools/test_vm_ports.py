"""Opening and closing ports of a VM."""

import asyncio
import json
from typing import Any

import pytest

from aleph_agentd.domain.delegation import entry_for, grant_command
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.forwards import MOST_PORTS, Protocols
from aleph_agentd.domain.model import Vm
from aleph_agentd.ports import MessageStatus
from aleph_agentd.tools.toolbox import Toolbox
from support.fake_network import ADDRESS
from support.world import ALICE, BOB, Machine, World

TCP = Protocols(tcp=True)
PAYER = "0xPayer"


async def _ports(world: World, caller: Any = ALICE, **arguments: Any) -> Any:
    words = {"item_hash": "box", **arguments}
    return await Toolbox(world.services).call("aleph_vm_ports", words, caller=caller)


async def _open(world: World, port: int = 80, **arguments: Any) -> Any:
    return await _ports(world, action="open", port=port, **arguments)


async def _close(world: World, port: int = 80, **arguments: Any) -> Any:
    return await _ports(world, action="close", port=port, **arguments)


async def _refusal(world: World, caller: Any = ALICE, **arguments: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await _ports(world, caller, **arguments)
    assert refused.value.hint
    return refused.value


async def _on_network(world: World, vm: Vm) -> Any:
    return dict((await world.network.forwards(vm.payer)).get(vm.item_hash, {}))


async def test_a_port_is_opened_listed_and_closed(world: World) -> None:
    """With where it is reached; SSH's own is not among them, and the lease is not touched."""
    vm = await world.create(name="box")
    opened = await _open(world)
    where = {"port": 80, "protocol": "tcp", "address": "203.0.113.7:25000"}
    assert (opened["status"], opened["ports"]) == ("open", [where])
    listed = await _ports(world)
    assert (listed["status"], listed["ports"]) == ("listed", [where])
    closed = await _close(world)
    assert (closed["status"], closed["ports"]) == ("closed", [])
    assert await _on_network(world, vm) == {}
    assert await world.row(vm) == vm


async def test_both_protocols_of_a_port_are_two_things(world: World) -> None:
    """One is closed, the other stays."""
    vm = await world.create(name="box")
    await _open(world, 53)
    assert [p["protocol"] for p in (await _open(world, 53, protocol="udp"))["ports"]] == ["tcp+udp"]
    await _close(world, 53)
    assert await _on_network(world, vm) == {53: Protocols(udp=True)}


async def test_what_is_so_already_is_not_signed_again(world: World) -> None:
    """Open twice, close what is closed."""
    await world.create(name="box")
    await _close(world)
    await _open(world)
    posts = len(world.network.asked("post"))
    assert (await _open(world))["status"] == "open"
    assert len(world.network.asked("post")) == posts


@pytest.mark.parametrize(
    "words",
    [
        {"action": "open"},
        {"action": "close"},
        {"action": "list", "port": 80},
        {"action": "open", "port": 0},
        {"action": "open", "port": 65536},
        {"action": "open", "port": 22},
        {"action": "close", "port": 22},
        {"action": "open", "port": 80, "protocol": "sctp"},
    ],
)
async def test_what_is_no_change_of_a_port_is_told(world: World, words: dict[str, Any]) -> None:
    """22 is always forwarded and never closed."""
    await world.create(name="box")
    assert (await _refusal(world, **words)).code == "bad_input"
    assert world.network.asked("forwards") == []


async def test_two_changes_at_once_do_not_lose_each_other(world: World) -> None:
    """The network keeps one entry per VM, and the last writer's."""
    vm = await world.create(name="box")
    world.tick_at("post")
    await asyncio.gather(*(_open(world, port) for port in (80, 443, 8080)))
    assert set(await _on_network(world, vm)) == {80, 443, 8080}


async def test_the_ports_of_two_vms_are_two_things(world: World) -> None:
    """Changed at once, in one aggregate."""
    vm, other = await world.create(name="box"), await world.create(name="other")
    await asyncio.gather(_open(world, 80), _ports(world, item_hash="other", action="open", port=81))
    assert (await _on_network(world, vm), await _on_network(world, other)) == ({80: TCP}, {81: TCP})


async def test_a_change_that_may_be_on_its_way_is_not_lost_by_the_next_one(world: World) -> None:
    """The post failed, and a node that is behind shows nothing: our own last word is what counts."""
    vm = await world.create(name="box")
    world.network.fail("post")
    refused = await _refusal(world, action="open", port=80)
    assert refused.code == "unknown"
    assert f"item_hash={vm.item_hash} and action=list" in refused.hint
    await _open(world, 443)
    assert set(await _on_network(world, vm)) == {80, 443}


async def test_a_post_that_took_effect_although_it_failed_is_seen(world: World) -> None:
    """Read back before it is called unknown."""
    await world.create(name="box")
    world.network.fail("post", when="after")
    assert (await _open(world))["status"] == "open"


async def test_what_cannot_be_read_at_first_changes_nothing(world: World) -> None:
    """Unknown is not closed: signing from it would close what is open."""
    vm = await world.create(name="box")
    await _open(world, 80)
    world.clock.forward(minutes=5)
    world.network.fail("forwards")
    assert (await _refusal(world, action="open", port=443)).code == "unavailable"
    assert await _on_network(world, vm) == {80: TCP}
    world.network.fail("forwards")
    assert (await _refusal(world)).code == "unavailable"


async def test_what_cannot_be_read_back_is_unknown_with_the_next_call(world: World) -> None:
    """And so is a status that cannot be asked."""
    vm = await world.create(name="box")
    world.network.before("post", lambda _: _break(world))
    refused = await _refusal(world, action="open", port=80)
    assert (refused.code, f"aleph_vm_ports with item_hash={vm.item_hash}" in refused.hint) == (
        "unknown",
        True,
    )


async def _break(world: World) -> None:
    world.network.fail("forwards", times=2)
    world.network.fail("status")


async def test_a_change_of_somebody_else_that_is_dated_later_stands(world: World) -> None:
    """The payer's client, with a clock of its own."""
    vm = await world.create(name="box")
    later = world.clock.now().replace(year=2099)
    message = await world.network.sign_ports(vm.item_hash, vm.payer, {9: TCP}, later)
    await world.network.post(message)
    assert (await _refusal(world, action="open", port=80)).code == "later_change"
    assert await _on_network(world, vm) == {9: TCP}


async def test_a_refusal_of_the_network_is_told(world: World) -> None:
    """With its reason; the next change does not build on it."""
    vm = await world.create(name="box")
    world.network.revoked_ports = "error 77"
    refused = await _refusal(world, action="open", port=80)
    assert (refused.code, "error 77" in refused.message) == ("network_refused", True)
    world.network.revoked_ports = ""
    await _open(world, 443)
    assert await _on_network(world, vm) == {443: TCP}


async def test_no_more_ports_than_the_bound(world: World) -> None:
    """Closing makes room."""
    await world.create(name="box")
    for port in range(1000, 1000 + MOST_PORTS):
        answer = await _open(world, port)
    assert len(answer["ports"]) == MOST_PORTS
    assert len(json.dumps(answer)) < 2000
    refused = await _refusal(world, action="open", port=80)
    assert (refused.code, "1000, 1001" in refused.message) == ("too_many_ports", True)
    await _open(world, 1000, protocol="udp")
    await _close(world, 1001)
    await _open(world, 80)


async def test_a_crn_that_does_not_follow_is_told_as_pending(world: World) -> None:
    """It is asked to look; the network has it, and a later list tells."""
    vm = await world.create(name="box")
    world.network.crns_follow = False
    answer = await _open(world)
    assert (answer["status"], answer["ports"][0]["address"]) == ("pending", "")
    assert "action=list" in answer["next"] and vm.item_hash in answer["next"]
    assert world.network.asked("refresh_ports")
    world.network.crn_does[vm.crn_hash] = "silent"
    assert (await _ports(world))["status"] == "pending"
    world.network.crn_does.clear()
    world.network.crns_follow = True
    assert (await _ports(world))["ports"][0]["address"] == "203.0.113.7:25000"


async def test_a_vm_that_ends_opens_nothing_more(world: World) -> None:
    """Also when its end is ordered while the network is asked."""
    vm = await world.create(name="box")
    hold = world.network.hold("forwards")
    asked = asyncio.create_task(_open(world))
    await hold.arrival()
    await world.services.teardown.order(vm.item_hash, "the test ends it")
    hold.go.set()
    [refused] = await asyncio.gather(asked, return_exceptions=True)
    assert isinstance(refused, Refusal) and refused.code == "not_running"
    assert (await _refusal(world, item_hash=vm.item_hash)).code == "not_running"
    assert await _on_network(world, vm) == {}


async def test_another_project_s_vm_is_not_opened(world: World) -> None:
    """rules.md 14."""
    vm = await world.create(name="box")
    refused = await _refusal(world, BOB, item_hash=vm.item_hash, action="open", port=80)
    assert refused.code == "not_yours"


async def test_without_a_key_nothing_is_changed(world: World) -> None:
    """And that is known, not unknown."""
    vm = await world.create(name="box")
    world.network.key_trouble = "no passphrase"
    assert (await _refusal(world, action="open", port=80)).code == "no_key"
    assert await _on_network(world, vm) == {}


async def test_a_caller_that_hangs_up_leaves_a_whole_change(world: World) -> None:
    """The post goes on, and is read back."""
    vm = await world.create(name="box")
    hold = world.network.hold("post")
    asked = asyncio.create_task(_open(world))
    await hold.arrival()
    asked.cancel()
    await asyncio.wait({asked})
    hold.go.set()
    await world.quiet()
    assert await _on_network(world, vm) == {80: TCP}


async def test_what_is_signed_is_audited(world: World) -> None:
    """The call with its port, the signature with all ports, the post."""
    await world.create(name="box")
    await _open(world, 8443)
    await world.services.auditor.write()
    entries = [entry.deed.text for entry in await world.services.auditor.page(0, 500)]
    assert any("aleph_vm_ports" in text and "port=8443" in text for text in entries)
    assert any("open ports 8443/tcp" in text for text in entries)


class TestDelegated:
    """The payer's aggregate, by our key."""

    @pytest.fixture
    def machine(self, machine: Machine) -> Machine:
        """A payer that grants VMs, and no ports."""
        machine.human = PAYER
        machine.network.grants[PAYER, ADDRESS] = frozenset({"INSTANCE", "FORGET"})
        return machine

    async def test_a_grant_that_lacks_the_aggregate_is_named(self, world: World) -> None:
        """What the payer has to run, and the very entry."""
        await world.create(name="box")
        refused = await _refusal(world, action="open", port=80)
        assert (refused.code, PAYER in refused.message) == ("no_delegation", True)
        assert "port-forwarding" in refused.message
        assert grant_command(ADDRESS) in refused.hint
        assert refused.data["authorization"] == entry_for(ADDRESS)

    async def test_with_it_the_payer_s_aggregate_has_the_port(self, world: World) -> None:
        """Not our own address's."""
        vm = await world.create(name="box")
        world.network.grants[PAYER, ADDRESS] = frozenset({"INSTANCE", "FORGET", "AGGREGATE"})
        assert (await _open(world))["status"] == "open"
        assert vm.payer == PAYER
        assert await world.network.forwards(ADDRESS) == {}
        assert world.network.statuses[world.network.asked("post")[-1]] is MessageStatus.PROCESSED
