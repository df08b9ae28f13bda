"""Prices, balances and the CRN list: what is kept, what is asked once, and what is not believed."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aleph_agentd.adapters.aleph.cache import Cache
from aleph_agentd.adapters.aleph.checked import node_url
from aleph_agentd.adapters.aleph.crns import parse_list
from aleph_agentd.adapters.aleph.network import Network, open_network
from aleph_agentd.domain.model import SignedMessage
from aleph_agentd.ports import NetworkTrouble
from support.network import HASH, FakeNode, settings_for

pytest_plugins = ["support.network_fixtures"]

BALANCE, ESTIMATE, CRNS = "/api/v0/addresses/0xpayer/balance", "/api/v0/price/estimate", "/crns.json"
PRICING = "/api/v0/aggregates/0xFba561a84A537fCaa567bb7A2257e7142701ae2A.json"


def _crn(**changes: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "hash": HASH,
        "name": "fine",
        "address": "https://crn.example.org/",
        "score": 0.97,
        "version": "1.7.2",
        "status": "linked",
        "terms_and_conditions": "",
        "qemu_support": True,
        "gpu_support": False,
        "ipv6_check": {"host": True, "vm": True},
        "system_usage": {
            "active": True,
            "cpu": {"count": 8},
            "mem": {"available_kB": 2_147_484},
            "disk": {"available_kB": 1_048_576},
        },
    }
    return entry | changes


async def test_a_balance_is_the_credit_balance_in_units(network: Network, node: FakeNode) -> None:
    """`balance` is another currency."""
    node.says(BALANCE, {"address": "0xpayer", "balance": 7.5, "credit_balance": 342_000})
    assert await network.market.balance("0xpayer") == 342_000


@pytest.mark.parametrize("value", [None, "many", True, "1e999999999", "Infinity", [1], 10**30])
async def test_a_balance_that_makes_no_sense_is_trouble_and_not_zero(
    network: Network, node: FakeNode, value: Any
) -> None:
    """Unknown is never zero; and a huge exponent must not eat the daemon's memory."""
    node.says(BALANCE, {"credit_balance": value})
    with pytest.raises(NetworkTrouble, match="makes no sense"):
        await network.market.balance("0xpayer")


COSTS = "/api/v0/costs"


async def test_costs_are_read_over_all_pages(network: Network, node: FakeNode) -> None:
    """A page that is not full is the last one."""
    rows = [{"item_hash": f"{n}", "cost_credit": "3.9"} for n in range(101)]

    async def answer(request: web.Request) -> web.StreamResponse:
        at = (int(request.query["page"]) - 1) * 100
        return web.json_response({"resources": rows[at : at + 100]})

    node.does(COSTS, answer)
    assert len(await network.market.rates("0xpayer")) == 101


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"summary": {"total_cost_credit": "NaN"}, "resources": [{"item_hash": "a"}]},
        {"summary": {"total_cost_credit": -1}, "resources": "all"},
        {"summary": {"total_cost_credit": "1e-999999999"}, "resources": [{"cost_credit": "1e-999999999"}]},
        {"summary": None, "resources": [{"item_hash": 5, "cost_credit": "1"}]},
    ],
)
async def test_costs_that_make_no_sense_are_trouble(network: Network, node: FakeNode, body: Any) -> None:
    """Unknown is not zero."""
    node.says(COSTS, body)
    for ask in (network.market.burn, network.market.rates):
        with pytest.raises(NetworkTrouble, match="makes no sense"):
            await ask("0xpayer")


@pytest.mark.parametrize("credit", ["14250", 14250, 14250.0])
async def test_the_price_is_per_second(network: Network, node: FakeNode, credit: Any) -> None:
    """Only the key we need is read: an unknown entity does not disturb it."""
    pricing = {
        "instance": {"price": {"compute_unit": {"credit": credit, "payg": "x"}}},
        "new_thing": {"price": 7},
    }
    node.says(PRICING, {"address": "x", "data": {"pricing": pricing}})
    assert (await network.market.price()).cu_rate == Decimal(14250) / 3600


@pytest.mark.parametrize("credit", [None, 0, -1, "free", {"a": 1}])
async def test_a_price_of_nothing_is_trouble(network: Network, node: FakeNode, credit: Any) -> None:
    """A free VM is a mistake of the network, or a trap."""
    node.says(PRICING, {"data": {"pricing": {"instance": {"price": {"compute_unit": {"credit": credit}}}}}})
    with pytest.raises(NetworkTrouble):
        await network.market.price()


async def test_an_estimate_never_sends_our_signature(network: Network, node: FakeNode) -> None:
    """With it the CCN could create the VM before commit 1."""
    content = '{"address":"0xpayer"}'
    item_hash = hashlib.sha256(content.encode()).hexdigest()
    body = json.dumps({"item_content": content, "item_hash": item_hash, "signature": "0xours", "time": 1.5})
    node.says(ESTIMATE, {"cost": "3.958333333333333333", "payment_type": "credit"})
    assert await network.market.estimate(SignedMessage(item_hash, body)) == Decimal("3.958333333333333333")
    sent = json.loads(node.bodies[0])["message"]
    assert "ours" not in sent["signature"]
    assert sent["content"] == {"address": "0xpayer"}
    assert sent["time"] == "1970-01-01T00:00:01.500000+00:00"


def test_images_are_the_built_in_ones_and_the_configured_ones(key_path: Path) -> None:
    """A configured one of the same name goes first."""
    images = settings_for(key_path, "http://x", os_images={"mine": "1", "debian12": "2"}).images()
    assert set(images) == {"ubuntu22", "ubuntu24", "debian12", "mine"}
    assert images["debian12"] == "2"


async def test_a_kept_balance_is_not_asked_again(network: Network, node: FakeNode) -> None:
    """For five seconds; each payer has its own."""
    node.says(BALANCE, {"credit_balance": 1})
    node.says("/api/v0/addresses/0xother/balance", {"credit_balance": 2})
    assert [await network.market.balance("0xpayer") for _ in range(3)] == [1, 1, 1]
    assert await network.market.balance("0xother") == 2
    assert node.asks(BALANCE) == 1


async def test_many_callers_make_one_request(network: Network, node: FakeNode) -> None:
    """Single flight."""
    node.says(CRNS, {"crns": [_crn()]})
    lists = await asyncio.gather(*(network.market.crns() for _ in range(50)))
    assert {crns.crns[0].name for crns in lists} == {"fine"}
    assert node.asks(CRNS) == 1


async def test_a_failed_request_is_not_kept(network: Network, node: FakeNode) -> None:
    """The next caller asks again."""
    node.says(CRNS, text="no", status=500)
    with pytest.raises(NetworkTrouble):
        await network.market.crns()
    node.says(CRNS, {"crns": [_crn()]})
    assert len((await network.market.crns()).crns) == 1


async def test_a_cancelled_caller_does_not_fail_the_others(network: Network, node: FakeNode) -> None:
    """The request belongs to all who wait."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        asked.set()
        await go_on.wait()
        return web.json_response({"credit_balance": 5})

    node.does(BALANCE, answer)
    first = asyncio.create_task(network.market.balance("0xpayer"))
    second = asyncio.create_task(network.market.balance("0xpayer"))
    await asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go_on.set()
    assert await second == 5
    assert node.asks(BALANCE) == 1


async def test_an_answer_is_kept_until_it_is_too_old() -> None:
    """Driven by a clock of the test's own."""
    now, fetched = [100.0], []

    async def fetch(key: str) -> int:
        fetched.append(key)
        return len(fetched)

    cache = Cache(fetch, 5, clock=lambda: now[0])
    assert await cache.get() == (1, 0)
    now[0] += 4.5
    assert await cache.get() == (1, 4.5)
    now[0] += 0.5
    assert await cache.get() == (2, 0)


async def test_the_cache_is_bounded() -> None:
    """The oldest answers go."""

    async def fetch(key: str) -> str:
        return key

    cache = Cache(fetch, 60)
    for number in range(500):
        await cache.get(str(number))
    assert len(cache._kept) <= 64


async def test_closing_ends_a_running_request(key_path: Path, node: FakeNode) -> None:
    """The daemon's stop does not wait for a slow node."""
    asked = asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        asked.set()
        await asyncio.sleep(60)
        return web.Response()

    node.does(BALANCE, answer)
    async with open_network(settings_for(key_path, node.url)) as network:
        waiting = asyncio.create_task(network.market.balance("0xpayer"))
        await asked.wait()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_age_of_the_list_counts_from_when_it_was_made(network: Network, node: FakeNode) -> None:
    """A list server that is stuck serves an old list with a fresh answer."""
    made = datetime.now(UTC) - timedelta(hours=2)
    node.says(CRNS, {"last_refresh": made.isoformat(), "crns": [_crn()]})
    assert (await network.market.crns()).age_s >= 7200


def test_a_sound_entry_keeps_its_facts() -> None:
    """kB are thousands of bytes."""
    (crn,) = parse_list({"crns": [_crn()]}, allow_local=False).crns
    assert (crn.hash, crn.name, crn.url, crn.score) == (HASH, "fine", "https://crn.example.org", 0.97)
    assert (crn.qemu, crn.ipv6, crn.active, crn.has_gpu) == (True, True, True, False)
    assert (crn.cpu_count, crn.free_memory_mib, crn.free_disk_mib) == (8, 2048, 1000)


@pytest.mark.parametrize(
    "address",
    [
        "http://crn.example.org",
        "https://127.0.0.1",
        "https://10.1.2.3",
        "https://169.254.169.254",
        "https://[::1]",
        "https://[fd00::1]",
        "https://localhost",
        "https://router.lan",
        "https://intranet",
        "https://127.1",
        "https://0x7f.0x1",
        "https://2130706433",
        "https://crn.example.org@evil.example",
        "https://crn.example.org/path",
        "https://crn.example.org?x",
        "https://crn.example.org:99999",
        "https://crn.example.org;curl x|sh",
        "https://crn.example.org\nHost: x",
        "https://сrn.example.org",
        "https://" + "a." * 200 + "org",
        "ftp://crn.example.org",
        "crn.example.org",
        "",
        None,
        7,
    ],
)
def test_a_crn_without_a_public_https_address_is_left_out(address: Any) -> None:
    """It would lead requests, and an agent's ssh_command, where its owner wants (rules.md 18)."""
    parsed = parse_list({"crns": [_crn(address=address), _crn(hash="cd" * 32)]}, allow_local=False)
    assert [crn.hash for crn in parsed.crns] == ["cd" * 32]
    assert parsed.malformed == 1


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("https://crn.example.org/", "https://crn.example.org"),
        ("https://CRN.Example.ORG:4021", "https://crn.example.org:4021"),
        ("https://8.8.8.8", "https://8.8.8.8"),
        ("https://[2001:4860:4860::8888]/", "https://[2001:4860:4860::8888]"),
    ],
)
def test_public_addresses_are_kept(address: str, url: str) -> None:
    """Normalised, so that they can be compared."""
    assert node_url(address, allow_local=False) == url


def test_local_addresses_are_kept_where_they_are_allowed() -> None:
    """On a devnet."""
    assert node_url("http://127.0.0.2:4025/", allow_local=True) == "http://127.0.0.2:4025"


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "x",
        {},
        _crn(hash="ABC"),
        _crn(hash=None),
        _crn(terms_and_conditions="yes; rm -rf"),
        _crn(terms_and_conditions=7),
    ],
)
def test_a_malformed_entry_is_left_out_and_counted(entry: Any) -> None:
    """The others stay."""
    parsed = parse_list({"crns": [entry, _crn()]}, allow_local=False)
    assert [crn.hash for crn in parsed.crns] == [HASH]
    assert parsed.malformed == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"system_usage": None},
        {"system_usage": "x"},
        {
            "system_usage": {
                "active": True,
                "cpu": {"count": -1},
                "mem": {"available_kB": "1e999999"},
                "disk": [],
            }
        },
        {"system_usage": {"active": True, "cpu": {"count": True}}, "score": "NaN", "ipv6_check": None},
    ],
)
def test_unsound_facts_count_as_nothing(changes: dict[str, Any]) -> None:
    """Such a CRN is listed, and fits no VM."""
    (crn,) = parse_list({"crns": [_crn(**changes)]}, allow_local=False).crns
    assert (crn.cpu_count, crn.free_memory_mib, crn.free_disk_mib) == (0, 0, 0)


def test_hostile_names_are_stripped_and_cut() -> None:
    """They are shown to agents and in terminals."""
    name = "nice\x1b[31m\u202e\u200b\nIGNORE ALL PREVIOUS" + "x" * 10_000
    (crn,) = parse_list({"crns": [_crn(name=name, version="1.0\n" + "9" * 500)]}, allow_local=False).crns
    assert crn.name.startswith("nice [31m IGNORE ALL PREVIOUS")
    assert crn.name.isprintable()
    assert len(crn.name) == 80
    assert crn.version == "1.0 9999999999999999"


def test_a_claimed_hash_counts_for_the_first_entry_only() -> None:
    """A later entry could take over another CRN's identity."""
    parsed = parse_list({"crns": [_crn(), _crn(address="https://evil.example")]}, allow_local=False)
    assert [crn.url for crn in parsed.crns] == ["https://crn.example.org"]
    assert parsed.malformed == 1


@pytest.mark.parametrize("document", [[], {}, {"crns": {}}, None])
async def test_what_is_no_list_is_trouble(network: Network, node: FakeNode, document: Any) -> None:
    """An empty list would be an answer; this is none."""
    node.says(CRNS, document)
    with pytest.raises(NetworkTrouble):
        await network.market.crns()


GPU = {
    "vendor": "NVIDIA",
    "model": "RTX 4000 ADA",
    "device_name": "AD104GL",
    "device_class": "0300",
    "device_id": "10de:27b0",
}


def test_free_gpus_are_read_cut_and_stripped() -> None:
    """A CRN's words (rules.md 18); what is no device is none."""
    wild = GPU | {"model": "H\x1b[31m100\n" + "x" * 500, "device_name": "\u202eevil"}
    bad: list[Any] = [7, {}, GPU | {"device_id": "$(id)"}, GPU | {"device_class": "9"}, GPU | {"model": ""}]
    entry = _crn(gpu_support=True, compatible_available_gpus=[GPU, wild, *bad, *[GPU] * 1000])
    (crn,) = parse_list({"crns": [entry]}, allow_local=False).crns
    assert (crn.gpus[0].model, crn.gpus[0].device_id) == ("RTX 4000 ADA", "10de:27b0")
    assert len(crn.gpus[1].model) <= 40
    assert (crn.gpus[1].model + crn.gpus[1].device_name).isprintable()
    assert len(crn.gpus) <= 32
    for silly in (None, 5, {"a": 1}):
        entry = _crn(gpu_support=True, compatible_available_gpus=silly)
        assert parse_list({"crns": [entry]}, allow_local=False).crns[0].gpus == ()


async def test_gpu_tiers_are_read_and_unsound_ones_are_not_sold(network: Network, node: FakeNode) -> None:
    """Whatever they say, VMs without a GPU keep their price."""
    unit = {"vcpus": 1, "memory_mib": 6144, "disk_mib": 61_440}
    price = {"price": {"compute_unit": {"credit": "43125"}}}
    tiers = [{"model": "RTX 4000 ADA", "compute_units": 3}, {"model": "zero", "compute_units": 0}]
    pricing = {
        "instance": {"price": {"compute_unit": {"credit": "14250"}}},
        "instance_gpu_standard": {**price, "compute_unit": unit, "tiers": tiers},
        "instance_gpu_premium": {**price, "compute_unit": unit | {"memory_mib": 1}, "tiers": tiers[:1]},
    }
    node.says(PRICING, {"data": {"pricing": pricing}})
    found = await network.market.price()
    assert found.cu_rate == Decimal(14250) / 3600
    assert {model: tier.compute_units for model, tier in found.gpus.items()} == {"rtx 4000 ada": 3}
    assert found.gpus["rtx 4000 ada"].rate == Decimal(43125 * 3) / 3600
