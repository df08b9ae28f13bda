"""Three of the SDK's traps on one local network: each is sprung with the SDK's own call, then stepped over by ours."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ServerDisconnectedError
from pydantic import ValidationError

from aleph_agentd.adapters.aleph.network import Network, open_network
from aleph_agentd.adapters.aleph.settings import NetworkSettings
from aleph_agentd.adapters.store import SqlInventory, sqlite_url
from aleph_agentd.domain.clock import SystemClock
from aleph_agentd.domain.model import VmState
from support.clock import ManualTimers
from support.local_network import LocalNetwork, local_network
from support.world import ALICE, LIMITS, a_request, join

pytest_plugins = ["support.network_fixtures"]

LOST_ANSWER: dict[str, Any] = {"node": "ccn", "method": "POST", "path": "/api/v0/messages"}


class AllPorts:
    """The four ports of a network in one object, as a FakeNetwork is."""

    def __init__(self, network: Network) -> None:
        self._ports = (network.signer, network.messages, network.market, network.hosts)

    def __getattr__(self, name: str) -> Any:
        """Whichever port has it."""
        return getattr(next(port for port in self._ports if hasattr(port, name)), name)


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[LocalNetwork]:
    """A local network with the unmodified SDK, whose VMs boot in 30 s of its own time; money is no matter."""
    async with local_network(tmp_path) as started:
        await started.control("credits", {"address": started.address(), "units": 10**12})
        yield started


@pytest.fixture
async def ours(net: LocalNetwork) -> AsyncIterator[Network]:
    """Our adapters on the same network, with the same key."""
    settings = NetworkSettings(
        key_path=Path(net.network.accounts["funded"].key_file),
        api_hosts=(net.facts["api_host"],),
        crn_list_url=net.facts["crn_list_url"],
        aggregate_address=net.facts["aggregate_address"],
        allow_local=True,
    )
    async with open_network(settings) as opened:
        yield opened


async def test_a_neighbour_that_boots_hides_every_vm_of_its_crn_from_the_sdk_and_not_from_us(
    net: LocalNetwork, ours: Network
) -> None:
    """The SDK's model refuses the whole list while one entry of it has `networking: {}`."""
    mine = await net.create(requirements=net.on_crn())
    await net.running(mine)
    neighbour = await net.create(requirements=net.on_crn())
    await net.notify(neighbour)
    with pytest.raises(ValidationError):
        await (await net.sdk()).crn.get_active_vms(net.crn_url())

    found = await ours.hosts.execution(net.crn_url(), mine)
    assert found is not None
    assert (found.running, found.ssh_port) == (True, 24_000)
    both = await ours.hosts.executions(net.crn_url(), [mine, neighbour])
    assert [both[vm].host_ipv4 != "" for vm in (mine, neighbour)] == [True, False]


async def test_more_than_100_instances_are_100_for_the_sdk_and_all_for_us(
    net: LocalNetwork, ours: Network
) -> None:
    """`instance.get_instances()` reads the first page and says nothing of the others."""
    made = set()
    for number in range(103):
        message = await net.signed_instance(metadata={"number": number})
        made.add(message["item_hash"])
        await net.post(message)
    assert len(await (await net.sdk()).instance.get_instances(net.address())) == 100

    assert {vm.item_hash for vm in await ours.messages.instances(net.address())} == made


async def test_an_answer_that_is_lost_makes_two_paid_vms_of_a_retry_with_the_sdk(net: LocalNetwork) -> None:
    """`create_instance()` stamps a new time: the same call again is another VM."""
    await net.fault({"drop": "after"}, count=1, **LOST_ANSWER)
    with pytest.raises(ServerDisconnectedError):
        await net.create(requirements=net.on_crn())
    again = await net.create(requirements=net.on_crn())
    paid = {charge["item_hash"] for charge in (await net.control("state"))["charges"]}
    assert len(paid) == 2
    assert again in paid


@pytest.mark.parametrize("drop", ["after", "before"])
async def test_an_answer_that_is_lost_makes_one_paid_vm_of_a_create_of_ours(
    net: LocalNetwork, ours: Network, tmp_path: Path, drop: str
) -> None:
    """Its bytes are on disk before they leave: the status decides, and the same bytes may be sent again."""
    inventory = await SqlInventory.open(sqlite_url(tmp_path / "inventory.db"))
    network: Any = AllPorts(ours)
    database = tmp_path / "inventory.db"
    services = join(network, inventory, ManualTimers(), SystemClock(), LIMITS, database)
    await services.freezes.load()
    await services.restoration.begin_life()
    await net.fault({"drop": drop}, count=1, **LOST_ANSWER)
    plan = await services.planner.plan(a_request(), ALICE, confirmed=False)
    order = await services.provisioner.create(plan, ALICE, "request", "arguments")
    while not (await net.control("state"))["crns"][plan.crn.hash]["vms"]:
        await services.provisioner.wait(order.create_id, 0.1)
    await net.advance(30)
    vm = await services.provisioner.wait(order.create_id, 30)
    await inventory.close()
    assert vm.state is VmState.RUNNING
    assert [charge["item_hash"] for charge in (await net.control("state"))["charges"]] == [vm.item_hash]
