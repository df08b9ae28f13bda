"""Creating on a network that does not answer, or answers wrongly: one VM, tracked, or none and no cost."""

import asyncio

import pytest

from aleph_agentd.domain.errors import Refusal
from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess

POST, NOTIFY = "/api/v0/messages", "/control/allocation/notify"
BUSY = {"status": 503, "body": "This CRN cannot host the requested instance at this time."}


async def create(daemon: DaemonProcess, **arguments) -> dict:
    """A VM called box, for an hour."""
    return await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1, **arguments})


async def destroy(daemon: DaemonProcess, item_hash: str) -> dict:
    """The end of a VM, by its hash."""
    return await daemon.call("aleph_destroy_vm", {"item_hash": item_hash})


@pytest.mark.parametrize(
    ("effect", "match"),
    [
        ({"drop": "after"}, {"method": "POST", "path": POST, "count": 1}),
        ({"status": 500, "when": "after"}, {"method": "POST", "path": POST, "count": 1}),
        ({"drop": "before"}, {"method": "POST", "path": POST, "count": 1}),
        ({"status": 404}, {"method": "GET", "path": f"{POST}/*/status", "count": 4}),
        ({"garbage": True}, {"method": "GET", "path": f"{POST}/*/status", "count": 2}),
        ({"drop": "after"}, {"method": "POST", "path": NOTIFY, "count": 1}),
        ({"status": 500, "body": "Aleph message not found"}, {"method": "POST", "path": NOTIFY, "count": 2}),
        ({"garbage": True}, {"method": "GET", "path": "/v2/about/executions/list", "count": 2}),
        ({"truncate_listing": 0}, {"method": "GET", "path": "/v2/about/executions/list", "count": 2}),
    ],
    ids=["accepted-and-dropped", "accepted-and-500", "dropped", "unknown-for-a-while", "garbage-status",
         "notified-and-dropped", "not-yet-at-the-crn", "garbage-pool", "cut-pool"],
)  # fmt: skip
async def test_one_wrong_answer_rents_exactly_one_vm_that_is_tracked(net, resident, effect, match):
    """Whatever the POST answered, the network's status decides."""
    before = len(resident.instances())
    net.fault(effect, **match)
    answer = await create(resident)
    assert answer["status"] == "running"
    assert resident.live_instances() == resident.running() == [answer["item_hash"]]
    assert len(resident.instances()) == before + 1
    assert (await destroy(resident, answer["item_hash"]))["status"] == "destroyed"
    assert resident.leaves_nothing()


async def test_a_crn_that_refuses_is_left_for_another_one_and_costs_nothing_more(net, daemon):
    """The first VM is forgotten before the second one is rented, and its charge is closed."""
    net.fault(BUSY, method="POST", path=NOTIFY, count=1)
    answer = await create(daemon)
    assert answer["status"] == "running"
    assert len(answer["warnings"]) == 1 and "cannot host" in answer["warnings"][0]
    (refused,) = daemon.instances("forgotten")
    assert daemon.live_instances() == daemon.running() == [answer["item_hash"]]
    assert refused["content"]["requirements"] != net.message(answer["item_hash"])["content"]["requirements"]
    charges = [c for c in net.state()["charges"] if c["item_hash"] == refused["item_hash"]]
    assert charges and all(charge["to"] is not None for charge in charges)


async def test_when_every_crn_refuses_the_answer_says_what_was_tried(net, daemon):
    """What was begun is torn down: nothing stays un-forgotten, nothing stays reserved."""
    net.fault(BUSY, method="POST", path=NOTIFY)
    with pytest.raises(Refusal) as refused:
        await create(daemon)
    assert refused.value.code == "create_failed"
    assert len(refused.value.data["tried"]) == 3
    assert all(crn["name"] in refused.value.message for crn in net.crns)
    await eventually(lambda: len(daemon.instances("forgotten")) == 3)
    await eventually(lambda: nothing_is_live(daemon))
    assert daemon.leaves_nothing()
    assert (await daemon.call("aleph_check_balance"))["reserved_credits"] == 0


async def nothing_is_live(daemon: DaemonProcess) -> bool:
    """Whether every row is closed."""
    return await daemon.rows("live") == []


async def test_garbage_instead_of_the_crn_list_or_prices_creates_nothing(net, daemon):
    """Unknown is not zero: the refusal says what is not known, and later it works."""
    net.fault({"garbage": True}, path="/crns.json")
    with pytest.raises(Refusal) as refused:
        await create(daemon)
    assert refused.value.code == "unavailable"
    net.clear_faults()
    net.fault({"garbage": True}, path="/api/v0/price/estimate")
    with pytest.raises(Refusal) as refused:
        await create(daemon)
    assert refused.value.code == "unavailable"
    assert daemon.instances() == []
    net.clear_faults()
    assert (await create(daemon))["status"] == "running"


async def test_a_neighbour_that_boots_hides_nobody(tmp_path):
    """Its `networking` is empty then, which breaks the SDK's own model of the whole list."""
    with DevnetProcess(tmp_path, boot_seconds=300, crns=1) as net, DaemonProcess(net) as daemon:
        first = asyncio.ensure_future(create(daemon))
        await eventually(lambda: len(daemon.running()) == 1)
        net.advance(200)
        second = asyncio.ensure_future(create(daemon, name="neighbour"))
        await eventually(lambda: len(daemon.running()) == 2)
        net.advance(101)
        assert (await first)["ssh_command"]
        assert not second.done()
        net.advance(200)
        assert (await second)["ssh_command"]


async def test_a_client_that_hangs_up_during_a_create_loses_no_vm(net, daemon):
    """The create is the daemon's work, not the connection's."""
    net.fault({"latency_s": 1}, method="POST", path=NOTIFY, count=1)
    async with daemon.open() as client:
        asking = asyncio.ensure_future(
            client.call("tools.call", {"name": "aleph_create_vm", "arguments": {"name": "box"}})
        )
        await eventually(daemon.live_instances)
    with pytest.raises(Refusal):
        await asking
    (item_hash,) = await eventually(daemon.running)
    await eventually(lambda: runs(daemon, item_hash))


async def runs(daemon: DaemonProcess, item_hash: str) -> bool:
    """Whether the inventory has it as running."""
    return (await daemon.row(item_hash))["status"] == "running"
