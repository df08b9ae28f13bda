"""The payer's aggregate of open ports, and what a CRN says of them: what is signed, and what is believed."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from aleph_agentd.adapters.aleph.executions import find_execution
from aleph_agentd.adapters.aleph.network import Network
from aleph_agentd.domain.forwards import Forwarded, Protocols
from aleph_agentd.ports import NetworkTrouble
from support.network import HASH, FakeNode

pytest_plugins = ["support.network_fixtures"]

AT = datetime(2030, 1, 1, tzinfo=UTC)
AGGREGATES = "/api/v0/aggregates/0xPayer.json"
TCP, BOTH = Protocols(tcp=True), Protocols(tcp=True, udp=True)


async def test_what_is_signed_says_the_ports_of_one_vm_and_nothing_else(network: Network) -> None:
    """Under the payer's address, by our key; of no port it is null, which is what deletes."""
    message = await network.signer.sign_ports(HASH, "0xPayer", {80: TCP, 443: BOTH}, AT)
    fields = json.loads(message.body)
    assert (fields["type"], fields["sender"]) == ("AGGREGATE", network.signer.address)
    ports = {"80": {"tcp": True, "udp": False}, "443": {"tcp": True, "udp": True}}
    said = {"key": "port-forwarding", "address": "0xPayer", "time": AT.timestamp()}
    assert json.loads(fields["item_content"]) == {**said, "content": {HASH: {"ports": ports}}}
    closed = json.loads((await network.signer.sign_ports(HASH, "0xPayer", {}, AT)).body)
    assert json.loads(closed["item_content"]) == {**said, "content": {HASH: None}}


@pytest.mark.parametrize(
    ("item_hash", "ports"),
    [
        (HASH, {0: TCP}),
        (HASH, {65536: TCP}),
        (HASH, {22: TCP}),
        (HASH, {80: Protocols()}),
        ("security", {80: TCP}),
        (HASH.upper(), {80: TCP}),
    ],
)
async def test_what_is_no_port_of_a_vm_is_not_signed(network: Network, item_hash: str, ports: Any) -> None:
    """No other entry of the aggregate, and never SSH's port."""
    with pytest.raises(ValueError, match=r"not a port|nothing of port|not a hash"):
        await network.signer.sign_ports(item_hash, "0xPayer", ports, AT)


async def test_what_others_wrote_is_read_as_far_as_it_makes_sense(node: FakeNode, network: Network) -> None:
    """The official client writes port 22 as well; null is closed; the rest of a strange entry forwards nothing."""
    other = "cd" * 32
    ports = {"22": {"tcp": True}, "80": {"tcp": True, "udp": False}, "0": {"tcp": True}, "x": {"tcp": True}}
    ports |= {"99999": {"tcp": True}, "81": {"tcp": 1}, "82": [], "083": {"tcp": True}}  # type: ignore[dict-item]
    entries = {HASH: {"ports": ports}, other: None, "ef" * 32: {"ports": []}, "12" * 32: 5}
    node.says(AGGREGATES, {"data": {"port-forwarding": entries}})
    found = await network.messages.forwards("0xPayer")
    assert found == {HASH: {80: TCP}, "ef" * 32: {}, "12" * 32: {}}


@pytest.mark.parametrize("said", [[], {}, {"data": []}, {"data": {"port-forwarding": ["x"]}}])
async def test_an_answer_that_makes_no_sense_is_unknown_not_closed(
    node: FakeNode, network: Network, said: object
) -> None:
    """Nor is a failure."""
    node.says(AGGREGATES, said)
    with pytest.raises(NetworkTrouble):
        await network.messages.forwards("0xPayer")
    node.says(AGGREGATES, "busy", status=500)
    with pytest.raises(NetworkTrouble):
        await network.messages.forwards("0xPayer")


async def test_an_address_without_the_aggregate_has_nothing_open(node: FakeNode, network: Network) -> None:
    """404, or other keys only."""
    assert await network.messages.forwards("0xPayer") == {}
    node.says(AGGREGATES, {"data": {"security": {}}})
    assert await network.messages.forwards("0xPayer") == {}


def test_a_crn_s_ports_are_ports_or_not_there() -> None:
    """rules.md 18: what it says ends as host:port in an agent's shell."""
    mapped: dict[str, Any] = {
        "22": {"host": 24000, "tcp": True, "udp": False},
        "80": {"host": 24001, "tcp": True, "udp": True},
        "81": {"host": "24002; reboot", "tcp": True},
        "82": {"host": 70000, "tcp": True},
        "83": {"host": True, "tcp": True},
        "80;x": {"host": 24003, "tcp": True},
        "70000": {"host": 24004, "tcp": True},
        "84": "24005",
    }
    found = find_execution({HASH: {"networking": {"mapped_ports": mapped}}}, HASH, allow_local=True)
    assert found is not None
    assert (found.ssh_port, found.forwarded) == (24000, {80: Forwarded(True, True, 24001)})
    many = {str(port): {"host": port, "tcp": True} for port in range(1, 5000)}
    found = find_execution({HASH: {"networking": {"mapped_ports": many}}}, HASH, allow_local=True)
    assert found is not None and len(found.forwarded) <= 64


@pytest.mark.parametrize(("status", "knows"), [(200, True), (404, False), (400, False), (405, False)])
async def test_a_crn_is_asked_to_look_again_without_a_signature(
    node: FakeNode, network: Network, status: int, knows: bool
) -> None:
    """Old nodes have no such route."""
    path = f"/control/{HASH}/update"
    node.says(path, {"status": "ok"}, status=status)
    assert await network.hosts.refresh_ports(node.url, HASH) is knows
    assert node.asked == [("POST", path)]


@pytest.mark.parametrize("status", [302, 500, 502])
async def test_a_crn_that_fails_may_have_looked(node: FakeNode, network: Network, status: int) -> None:
    """Unknown."""
    node.says(f"/control/{HASH}/update", text="x", status=status, Location="/elsewhere")
    with pytest.raises(NetworkTrouble):
        await network.hosts.refresh_ports(node.url, HASH)
    assert node.asks("/elsewhere") == 0
