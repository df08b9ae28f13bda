"""The levers under `/devnet/`: what they break, how often, and what they record."""

import asyncio
import time
from email.utils import parsedate_to_datetime

import pytest
from aiohttp import ClientConnectionError, ServerDisconnectedError

from support.local_network import LocalNetwork

MESSAGES = "/api/v0/messages"


async def test_a_connection_dropped_after_acceptance_leaves_the_message_on_the_network(
    net: LocalNetwork,
) -> None:
    """[obs] the message **is** on the network and the caller sees ServerDisconnectedError."""
    message = await net.signed_instance()
    await net.fault({"drop": "after"}, count=1, node="ccn", method="POST", path=MESSAGES)
    with pytest.raises(ServerDisconnectedError):
        await net.post(message)
    assert await net.status(message["item_hash"]) == "processed"
    assert (await net.post(message))[0] == 202


async def test_a_connection_dropped_before_its_effect_has_none(net: LocalNetwork) -> None:
    """`drop: before` hangs up and processes nothing."""
    message = await net.signed_instance()
    await net.fault({"drop": "before"}, count=1, method="POST", path=MESSAGES)
    with pytest.raises(ServerDisconnectedError):
        await net.post(message)
    assert await net.status(message["item_hash"]) == "unknown"
    assert (await net.post(message))[0] == 200


async def test_a_status_can_replace_the_answer_before_or_after_the_effect(net: LocalNetwork) -> None:
    """`status` with `when`: the effect happens or it does not."""
    first, second = await net.signed_instance(), await net.signed_instance(metadata={"n": 2})
    await net.fault({"status": 503, "body": "busy"}, count=1, method="POST")
    assert await net.post(first) == (503, "busy")
    await net.fault({"status": 502, "body": "bad", "when": "after"}, count=1, method="POST")
    assert await net.post(second) == (502, "bad")
    assert [await net.status(m["item_hash"]) for m in (first, second)] == ["unknown", "processed"]


async def test_garbage_is_no_json(net: LocalNetwork) -> None:
    """`garbage` answers 200 with bytes that are no JSON."""
    await net.fault({"garbage": True}, path="/api/v0/addresses/*")
    with pytest.raises(ValueError, match="codec"):
        await (await net.sdk()).get_balances(net.address())


async def test_a_truncated_listing_keeps_its_totals(net: LocalNetwork) -> None:
    """`truncate_listing` cuts entries off and says nothing about it."""
    for _ in range(3):
        await net.create()
    await net.fault({"truncate_listing": 1}, path="/api/v0/messages.json")
    _, body = await net.get("/api/v0/messages.json", msgTypes="INSTANCE")
    assert (len(body["messages"]), body["pagination_total"]) == (1, 3)


async def test_a_truncated_pool_loses_vms(net: LocalNetwork) -> None:
    """`truncate_listing` also cuts the executions list of a CRN."""
    await net.running(await net.create())
    await net.fault({"truncate_listing": 0}, node=net.crn_hash(), path="/v2/about/executions/list")
    assert await net.executions() == {}


async def test_a_stale_crn_list_does_not_see_what_happened_since(net: LocalNetwork) -> None:
    """`stale` freezes the CRN list as it was when the fault was set."""
    await net.fault({"stale": True}, node="crn_list")
    await net.running(await net.create())
    crns = (await (await net.sdk()).crn.get_crns_list()).crns
    assert crns[0].system_usage.mem.available_kB == 256 * 2**20
    await net.ask("DELETE", "/devnet/faults")
    crns = (await (await net.sdk()).crn.get_crns_list()).crns
    assert crns[0].system_usage.mem.available_kB == 254 * 2**20


async def test_latency_delays_one_node_only(net: LocalNetwork) -> None:
    """`latency_s` holds the answer back; other nodes answer at once."""
    await net.fault({"latency_s": 30}, node=net.crn_hash(0))
    slow = asyncio.create_task(net.executions(0))
    assert await net.executions(1) == {}
    assert not slow.done()
    slow.cancel()


async def test_a_crn_that_is_down_refuses_connections_and_keeps_its_vms(net: LocalNetwork) -> None:
    """A CRN that is taken down closes its socket; its VMs are there when it is back on the same URL."""
    item_hash = await net.create()
    await net.running(item_hash)
    await net.control("faults", {"crn": net.crn_hash(), "down": True})
    with pytest.raises(ClientConnectionError):
        await net.executions()
    assert not (await net.control("state"))["crns"][net.crn_hash()]["up"]
    await net.control("faults", {"crn": net.crn_hash(), "down": False})
    assert list(await net.executions()) == [item_hash]


async def test_a_crn_that_is_down_for_long_leaves_the_list_of_active_nodes(net: LocalNetwork) -> None:
    """The list drops inactive nodes, unless it is asked for them."""
    await net.control("faults", {"crn": net.crn_hash(), "down": True})
    crn = (await net.sdk()).crn
    assert len((await crn.get_crns_list()).crns) == 3
    await net.advance(601)
    assert len((await crn.get_crns_list()).crns) == 2
    assert len((await crn.get_crns_list(only_active=False)).crns) == 3


async def test_faults_count_their_hits_and_end(net: LocalNetwork) -> None:
    """`count` limits a fault; `GET /devnet/faults` tells how often it struck."""
    await net.fault({"status": 500}, count=2, path="/api/v0/version")
    assert [(await net.get("/api/v0/version"))[0] for _ in range(3)] == [500, 500, 200]
    (fault,) = await net.control("faults")
    assert (fault["hits"], fault["count"]) == (2, 0)


async def test_a_probability_of_zero_never_strikes(net: LocalNetwork) -> None:
    """`probability` is per request."""
    await net.control("faults", {"effect": {"status": 500}, "probability": 0})
    assert (await net.get("/api/v0/version"))[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"effect": {"explode": 1}},
        {"effect": {"drop": "sideways"}},
        {"effect": {"drop": "before"}, "m": 1},
    ],
)
async def test_a_fault_that_means_nothing_is_refused(net: LocalNetwork, body: dict) -> None:
    """A misspelt fault must not make a test pass by doing nothing."""
    status, _ = await net.ask("POST", "/devnet/faults", json=body)
    assert status == 400


async def test_every_request_is_recorded(net: LocalNetwork) -> None:
    """`GET /devnet/requests`: time, node, method, path, status; 0 for a dropped connection."""
    await net.executions(1)
    await net.fault({"drop": "before"}, path="/api/v0/version")
    with pytest.raises(ClientConnectionError):
        await net.get("/api/v0/version")
    seen = [(r["node"], r["method"], r["path"], r["status"]) for r in await net.control("requests")]
    assert seen[0] == (net.crn_hash(1), "GET", "/v2/about/executions/list", 200)
    # aiohttp's client repeats an idempotent request once on a connection that it has used before.
    assert seen[-1] == ("ccn", "GET", "/api/v0/version", 0)


async def test_every_answer_carries_the_networks_time(net: LocalNetwork) -> None:
    """The `Date` header of every answer is devnet's time, and the clock file has libfaketime's format."""
    await net.advance(86_400)
    async with net.http.get(net.crn_url() + "/about/executions/list") as answer:
        told = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    assert abs(told - time.time() - 86_400) < 60
    assert (net.network.options.folder / "clock").read_text() == "+86400.000\n"


async def test_the_clock_can_be_set_back(net: LocalNetwork) -> None:
    """`set_offset_s` sets the distance from real time."""
    await net.advance(1000)
    answer = await net.control("clock", {"set_offset_s": -500.5})
    assert answer["offset_s"] == -500.5
    assert (net.network.options.folder / "clock").read_text() == "-500.500\n"


async def test_unknown_levers_and_bad_bodies_are_refused(net: LocalNetwork) -> None:
    """Bad input is 400 with the reason, never a traceback."""
    for lever, body in (
        ("clock", {}),
        ("credits", {"units": 1}),
        ("faults", {"crn": "x", "down": True}),
        ("replay", {}),
        ("clock", [1]),
    ):
        status, _ = await net.ask("POST", f"/devnet/{lever}", json=body)
        assert status == 400


async def test_a_node_can_lie_about_what_it_is_asked_for(net: LocalNetwork) -> None:
    """`lies`: every value of that name, wherever it is; the rest is the truth."""
    item_hash = await net.create()
    await net.running(item_hash)
    truth = (await net.executions())[item_hash]
    await net.fault({"lies": {"host_ipv4": "1.2.3.4;id"}}, node=net.crn_hash(), path="/v2/about/executions")
    lie = (await net.executions())[item_hash]
    assert lie["networking"].pop("host_ipv4") == "1.2.3.4;id"
    del truth["networking"]["host_ipv4"]
    assert lie == truth
