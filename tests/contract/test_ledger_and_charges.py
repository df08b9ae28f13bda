"""The ledger against devnet's own charges: a hundred random VMs, over the real adapters in one process."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aleph_agentd.adapters.aleph.network import open_network
from aleph_agentd.adapters.config import Settings
from aleph_agentd.adapters.store import SqlInventory, sqlite_url
from aleph_agentd.app import network_settings
from aleph_agentd.domain.caller import Caller, Peer
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.model import NetworkInstance, Vm
from aleph_agentd.domain.money import hourly_units
from aleph_agentd.joining import given, join, witnessed
from aleph_agentd.services.auditor import Auditor
from aleph_agentd.services.core import Services
from aleph_agentd.services.quotes import CreateRequest
from support.anchors import MemoryAnchors
from support.clock import ManualTimers
from support.local_network import LocalNetwork, local_network
from support.world import KEY

VMS, AT_ONCE = 100, 10
SEED = 4


class NetworkClock:
    """Devnet's time is ours."""

    def __init__(self, net: LocalNetwork) -> None:
        self._net = net

    def now(self) -> datetime:
        """The instant."""
        return datetime.fromtimestamp(self._net.network.clock.now(), UTC)


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[LocalNetwork]:
    """A network whose VMs boot at once."""
    (tmp_path / "net").mkdir()
    async with local_network(tmp_path / "net", boot_seconds=0.0, crns=5) as opened:
        yield opened


@pytest.fixture
async def services(
    net: LocalNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Services]:
    """As app.py joins them."""
    monkeypatch.chdir(tmp_path)  # restored at the end: loading the SDK changes to `/`
    monkeypatch.setenv("ALEPH_AGENT_CONFIG", str(tmp_path / "none.toml"))
    settings = Settings(
        private_key_path=net.network.accounts["funded"].key_file,
        ssh_pubkey_path=tmp_path / "none.pub",
        inventory_path=tmp_path / "inventory.db",
        api_host=net.facts["api_host"],
        crn_list_url=net.facts["crn_list_url"],
        aggregate_address=net.facts["aggregate_address"],
        max_concurrent_vms=1000,
        max_creates_per_hour=1000,
        max_daily_spend="off",
        human_approval_threshold="off",
        balance_guard_percent=100,
    )
    async with AsyncExitStack() as stack:
        inventory = await SqlInventory.open(sqlite_url(settings.database_path))
        stack.push_async_callback(inventory.close)
        network = await stack.enter_async_context(open_network(network_settings(settings)))
        await network.warm_up()
        clock = NetworkClock(net)
        auditor = Auditor(inventory, MemoryAnchors(), clock)
        ports = witnessed(network, auditor)
        joined = join(given(settings), inventory, ports, ManualTimers(), clock, auditor)
        await joined.freezes.load()
        await joined.restoration.begin_life()
        yield joined
        await joined.jobs.drain(0)


async def _rent(services: Services, n: int, dice: random.Random) -> Vm:
    request = CreateRequest(
        name=f"vm-{n}",
        compute_units=dice.choice([1, 1, 2, 4]),
        ttl_hours=24.0,
        os_image="ubuntu22",
        ssh_pubkey=KEY,
    )
    caller = Caller(f"s{n % 7}", Peer(1000, 1), client="pytest")
    plan = await services.planner.plan(request, caller, confirmed=False)
    order = await services.provisioner.create(plan, caller, None, "")
    return await services.provisioner.wait(order.create_id, 60)


async def _end(services: Services, vm: Vm) -> None:
    await services.teardown.order(vm.item_hash, "the test ends it")
    assert await services.teardown.billing_end(vm.item_hash, 30)


async def test_the_ledger_s_sums_are_devnet_s_charges(net: LocalNetwork, services: Services) -> None:
    """Within one billing quantum of each VM; and so says the comparison with the payer's expenses."""
    await net.control("credits", {"address": net.address(), "units": 10**9})
    dice, live, rented = random.Random(SEED), list[Vm](), list[Vm]()
    for first in range(0, VMS, AT_ONCE):
        numbers = range(first, first + AT_ONCE)
        born = await asyncio.gather(*(_rent(services, n, dice) for n in numbers))
        rented, live = [*rented, *born], [*live, *born]
        await net.advance(dice.uniform(60, 2 * 3600))
        dice.shuffle(live)
        ending, live = live[: AT_ONCE - 2], live[AT_ONCE - 2 :]
        await asyncio.gather(*(_end(services, vm) for vm in ending))
        await services.expenses.reprice()
    await asyncio.gather(*(_end(services, vm) for vm in live))
    await net.advance(7200)
    now_ms = int(net.network.clock.now() * 1000)
    money = await services.inventory.balances([vm.item_hash for vm in rented])
    ours = theirs = 0
    for vm in rented:
        charge = net.network.chain.ledger.charge(vm.item_hash)
        assert charge is not None
        assert charge.to_ms is not None
        charged = charge.units(now_ms)
        reserved, spent = money[vm.item_hash]
        assert reserved == 0
        assert abs(spent - charged) <= vm.hourly_units
        ours, theirs = ours + spent, theirs + charged
    assert len(money) == VMS
    assert abs(ours - theirs) * 1000 < theirs  # an hour each is allowed; seconds are what it takes
    await services.expenses.run()
    figures = services.expenses.figures()
    assert (figures["trouble"], figures["untold"], figures["drift_percent"]) == ("", 0, 0.0)
    assert figures["vms"] == VMS


@pytest.mark.parametrize(("gpu", "hourly"), [("any", 129_375), ("H100", 2_070_000)])
async def test_a_gpu_costs_what_the_network_says_and_is_given_once(
    net: LocalNetwork, services: Services, gpu: str, hourly: int
) -> None:
    """The live tiers, the CCN's own estimate, and the charge agree; the second one finds none free."""
    await net.control("credits", {"address": net.address(), "units": 10**9})
    request = CreateRequest(name="g", ttl_hours=2.0, os_image="ubuntu22", ssh_pubkey=KEY, gpu=gpu)
    caller = Caller("s", Peer(1000, 1), client="pytest")
    plan = await services.planner.plan(request, caller, confirmed=False)
    assert plan.hourly_units == hourly
    order = await services.provisioner.create(plan, caller, None, "")
    vm = await services.provisioner.wait(order.create_id, 60)
    (rate,) = (await services.market.rates(vm.payer)).values()
    assert rate == pytest.approx(vm.rate)
    # And so would a row be priced that has to be written anew.
    size = {"vcpus": vm.vcpus, "memory_mib": vm.memory_mib, "gpus": 1}
    listed = NetworkInstance(vm.item_hash, vm.signer, vm.payer, None, None, **size)
    assert hourly_units(await services.adopter.rate(listed)) == hourly
    second = replace(plan, request=replace(request, name="g2"))
    with pytest.raises(Refusal, match="This CRN cannot host"):
        order = await services.provisioner.create(second, caller, None, "")
        await services.provisioner.wait(order.create_id, 60)
    await _end(services, vm)
