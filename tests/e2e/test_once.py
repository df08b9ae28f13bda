"""Once and only once: request keys, concurrency, one daemon per inventory and key, and a stop in good order."""

import asyncio
import signal

import pytest

from aleph_agentd.domain.errors import Refusal
from support.daemon import DaemonProcess, call_tool, eventually

POST, NOTIFY = "/api/v0/messages", "/control/allocation/notify"
BOX = {"name": "box", "ttl_hours": 1}


async def test_the_same_request_asked_twice_at_once_and_after_a_crash_is_one_vm(daemon):
    """Idempotency is the server's job; another request under the same key is a conflict."""
    async with daemon.open() as client:
        asked = [call_tool(client, "aleph_create_vm", BOX, "key-1") for _ in range(3)]
        answers = await asyncio.gather(*asked)
    again = await daemon.call("aleph_create_vm", BOX, "key-1")
    daemon.restart()
    answers += [again, await daemon.call("aleph_create_vm", BOX, "key-1")]
    assert len({answer["item_hash"] for answer in answers}) == 1
    assert len(daemon.instances()) == 1
    with pytest.raises(Refusal) as refused:
        await daemon.call("aleph_create_vm", {**BOX, "name": "other"}, "key-1")
    assert refused.value.code == "request_key_reused"
    assert len(daemon.instances()) == 1


async def test_an_extension_asked_twice_extends_once(daemon):
    """Under one request key."""
    vm = await daemon.call("aleph_create_vm", BOX)
    extend = {"item_hash": vm["item_hash"], "additional_hours": 2}
    first = await daemon.call("aleph_extend_vm", extend, "key-2")
    daemon.restart()
    second = await daemon.call("aleph_extend_vm", extend, "key-2")
    assert first["new_ttl_expires_at"] == second["new_ttl_expires_at"]
    assert (await daemon.row(vm["item_hash"]))["ttl_expires_at"] == first["new_ttl_expires_at"]


async def test_five_creates_at_once_against_a_limit_of_three_are_three_vms(daemon):
    """Admission is one atomic step; the rest is refused by name of the rule."""

    async def rent(n: int) -> dict:
        return await daemon.call("aleph_create_vm", {"name": f"box-{n}", "ttl_hours": 1})

    answers = await asyncio.gather(*(rent(n) for n in range(5)), return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    assert [refusal.code for refusal in refusals] == ["max_concurrent_vms"] * 2
    assert len(daemon.live_instances()) == len(daemon.instances()) == 3


async def test_a_second_daemon_on_the_same_inventory_or_key_says_who_holds_it(net, daemon):
    """And exits 1; the first one goes on."""
    pid = (await daemon.control("status"))["pid"]
    shared = {"XDG_STATE_HOME": daemon.environment["XDG_STATE_HOME"]}
    other = DaemonProcess(net, environment=shared)
    key = {
        "ALEPH_AGENT_PRIVATE_KEY_PATH": str(daemon.key_file),
        "ALEPH_AGENT_INVENTORY_PATH": str(other.folder / "other.db"),
    }
    same_key = DaemonProcess(net, environment={**shared, **key})
    try:
        for rival, what in ((other, "inventory"), (same_key, "key")):
            rival.spawn()
            assert await asyncio.to_thread(rival.wait) == 1
            last = rival.log().splitlines()[-1]
            assert f"(pid {pid}) already works with the {what}" in last
    finally:
        other.close()
        same_key.close()
    assert (await daemon.call("aleph_check_balance"))["balance_credits"] == 10_000


async def test_a_second_daemon_on_the_key_creates_nothing_before_it_knows_that_it_is_the_second(net, daemon):
    """It answers before its key is loaded; a create waits for the lock, and is refused."""
    key = {
        "XDG_STATE_HOME": daemon.environment["XDG_STATE_HOME"],
        "ALEPH_AGENT_PRIVATE_KEY_PATH": str(daemon.key_file),
    }
    rival = DaemonProcess(net, environment=key)
    rival.environment["ALEPH_AGENT_INVENTORY_PATH"] = str(rival.folder / "other.db")
    try:
        rival.start()
        with pytest.raises((Refusal, OSError)) as refused:
            await rival.call("aleph_create_vm", BOX)
        assert "already works with the key" in str(refused.value)
        assert await asyncio.to_thread(rival.wait) == 1
        assert daemon.instances() == []
    finally:
        rival.close()


async def test_a_stop_lets_a_create_finish_and_takes_no_new_one(net, daemon):
    """SIGTERM drains: the client gets its VM, and the daemon exits 0."""
    net.fault({"latency_s": 1.5}, method="POST", path=NOTIFY, count=1)
    async with daemon.open() as client:
        creating = asyncio.ensure_future(call_tool(client, "aleph_create_vm", BOX))
        await eventually(daemon.live_instances)
        daemon.send(signal.SIGTERM)
        answer = await creating
    assert await asyncio.to_thread(daemon.wait) == 0
    assert answer["item_hash"] in daemon.live_instances()
    daemon.start()
    await eventually(lambda: runs(daemon, answer["item_hash"]))
    assert daemon.running() == [answer["item_hash"]]


async def runs(daemon: DaemonProcess, item_hash: str) -> bool:
    """Whether the inventory has it as running."""
    return (await daemon.row(item_hash))["status"] == "running"
