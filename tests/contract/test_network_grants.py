"""A payer's grants, and the sender of a message: what no node says is not made up."""

from typing import Any

import pytest

from aleph_agentd.adapters.aleph.network import Network
from aleph_agentd.ports import NetworkTrouble
from support.network import HASH, FakeNode

pytest_plugins = ["support.network_fixtures"]

GRANTS = "/api/v0/aggregates/0xPayer.json"


@pytest.mark.parametrize(
    ("data", "granted"),
    [
        ({}, set()),
        ({"security": {}}, set()),
        ({"security": None}, set()),
        ({"security": {"authorizations": [{"address": "0xAgent", "types": ["INSTANCE"]}]}}, {"INSTANCE"}),
    ],
)
async def test_grants_are_what_the_security_aggregate_holds(
    network: Network, node: FakeNode, data: dict[str, Any], granted: set[str]
) -> None:
    """Only that key is asked for."""
    node.says(GRANTS, {"address": "0xPayer", "data": data})
    assert await network.messages.granted("0xPayer", "0xAgent") == granted


async def test_a_payer_without_aggregates_grants_nothing(network: Network, node: FakeNode) -> None:
    """404 is an answer."""
    assert await network.messages.granted("0xPayer", "0xAgent") == frozenset()
    assert node.asks(GRANTS) == 1


@pytest.mark.parametrize("body", [[], {}, {"data": 7}, {"data": {"security": "all"}}])
async def test_an_answer_that_makes_no_sense_is_no_revocation(
    network: Network, node: FakeNode, body: Any
) -> None:
    """Unknown is not revoked; nor is a failure."""
    node.says(GRANTS, body)
    with pytest.raises(NetworkTrouble):
        await network.messages.granted("0xPayer", "0xAgent")
    node.says(GRANTS, status=500)
    with pytest.raises(NetworkTrouble):
        await network.messages.granted("0xPayer", "0xAgent")


@pytest.mark.parametrize(
    ("body", "sender"),
    [
        ({"status": "forgotten", "message": {"sender": "0xUs"}}, "0xUs"),
        ({"status": "pending", "messages": [{"sender": "0xUs"}]}, "0xUs"),
        ({"status": "pending", "messages": []}, None),
        ({"status": "forgotten", "message": {"sender": 7}}, None),
        ({"status": "removed"}, None),
    ],
)
async def test_the_sender_is_told_or_not_known(
    network: Network, node: FakeNode, body: Any, sender: str | None
) -> None:
    """In each shape that a status has."""
    node.says(f"/api/v0/messages/{HASH}", body)
    assert await network.messages.sender(HASH) == sender


async def test_a_failure_says_nothing_of_the_sender(network: Network, node: FakeNode) -> None:
    """It may be ours."""
    node.says(f"/api/v0/messages/{HASH}", status=503)
    with pytest.raises(NetworkTrouble):
        await network.messages.sender(HASH)
