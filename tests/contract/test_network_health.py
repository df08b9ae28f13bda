"""What health asks of the network: one list for many VMs, and what is being removed."""

import pytest

from aleph_agentd.adapters.aleph.network import Network
from aleph_agentd.ports import Execution, NetworkTrouble
from support.network import HASH, FakeNode

pytest_plugins = ["support.network_fixtures"]

V2, V1, LISTING = "/v2/about/executions/list", "/about/executions/list", "/api/v0/messages.json"
OTHER, NEIGHBOUR = "cd" * 32, "ef" * 32
NET = {"host_ipv4": "8.8.8.8", "mapped_ports": {"22": {"host": 24000}}}


async def test_one_list_tells_of_many_vms_and_neighbours_may_have_any_shape(
    network: Network, node: FakeNode
) -> None:
    """Those that are not on it are not in the answer."""
    node.says(V2, {HASH: {"running": True, "networking": NET}, NEIGHBOUR: "booting", "x": None})
    found = await network.hosts.executions(node.url, [HASH, OTHER])
    assert found == {HASH: Execution(True, "8.8.8.8", 24000, "")}
    assert node.asks(V2) == 1


async def test_an_old_node_is_asked_in_its_own_way(network: Network, node: FakeNode) -> None:
    """Its list has no addresses."""
    node.says(V1, {HASH: {"networking": {}}})
    assert await network.hosts.executions(node.url, [HASH]) == {HASH: Execution(True)}


@pytest.mark.parametrize(("status", "text"), [(200, "[]"), (200, "<html>"), (500, "{}"), (200, "")])
async def test_an_answer_that_is_no_list_is_unknown_and_not_empty(
    network: Network, node: FakeNode, status: int, text: str
) -> None:
    """Promise 5."""
    node.says(V2, text=text, status=status)
    with pytest.raises(NetworkTrouble):
        await network.hosts.executions(node.url, [HASH, OTHER])


async def test_a_partial_listing_of_what_is_being_removed_is_unknown(
    network: Network, node: FakeNode
) -> None:
    """Complete, or trouble; and nothing is nothing."""
    node.says(LISTING, {"messages": [], "pagination_total": 0})
    assert await network.messages.removing("0xSender") == frozenset()
    node.says(LISTING, {"messages": [], "pagination_total": 2})
    with pytest.raises(NetworkTrouble):
        await network.messages.removing("0xSender")
