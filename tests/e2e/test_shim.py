"""The whole line: a real MCP client, the real shim, the daemon, the SDK, the network, and back."""

import asyncio

import pytest

from support.agent import session
from support.daemon import eventually

POST, NOTIFY = "/api/v0/messages", "/control/allocation/notify"
TOOLS = {"aleph_check_balance", "aleph_list_crns", "aleph_create_vm", "aleph_wait_vm", "aleph_list_my_vms",
         "aleph_extend_vm", "aleph_destroy_vm", "aleph_vm_power", "aleph_adopt_vm", "aleph_vm_run", "aleph_vm_copy", "aleph_spend_report", "aleph_freeze"}  # fmt: skip


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_agent_rents_uses_and_ends_a_vm_in_both_eras(resident, tmp_path, mode):
    """The tools on one VM; what they answer is what the network says."""
    async with session(resident, tmp_path, mode=mode) as agent:
        assert (await agent.tools()).keys() == TOOLS
        assert (await agent.call("aleph_check_balance"))["active_vm_count"] == 0
        assert (await agent.call("aleph_list_crns"))["total"] == 3
        vm = await agent.call("aleph_create_vm", name="box", ttl_hours=1)
        assert resident.live_instances() == resident.running() == [vm["item_hash"]]
        assert (await agent.call("aleph_wait_vm", item_hash="box"))["ready"] is True
        (listed,) = (await agent.call("aleph_list_my_vms"))["vms"]
        assert (listed["item_hash"], listed["mine"]) == (vm["item_hash"], True)
        largest = {"path": "blob", "content": "/" * 349_524 + "/w==", "encoding": "base64"}  # 256 KiB
        assert (await agent.call("aleph_vm_copy", item_hash="box", **largest))["bytes"] == 256 * 1024
        assert (await agent.call("aleph_vm_copy", item_hash="box", path="blob"))["content"] == largest[
            "content"
        ]
        assert (await agent.call("aleph_vm_run", item_hash="box", command="wc -c blob"))["exit_code"] == 0
        extended = await agent.call("aleph_extend_vm", item_hash="box", additional_hours=1)
        assert extended["new_ttl_expires_at"] > vm["ttl_expires_at"]
        assert (await agent.call("aleph_destroy_vm", item_hash="box"))["status"] == "destroyed"
        assert resident.leaves_nothing()


async def test_a_daemon_killed_and_restarted_during_a_create_rents_one_vm_and_answers(net, daemon, tmp_path):
    """The shim sends the call again to the new daemon, which knows it; the next call works as well."""
    net.fault({"latency_s": 60, "when": "after"}, method="POST", path=POST, count=1)
    async with session(daemon, tmp_path) as agent:
        await agent.call("aleph_check_balance")
        creating = asyncio.ensure_future(agent.call("aleph_create_vm", name="box", ttl_hours=1))
        await eventually(daemon.live_instances, "the network to accept it")
        daemon.restart()
        vm = await creating
        assert daemon.live_instances() == [vm["item_hash"]]
        assert len(daemon.instances()) == 1
        (listed,) = (await agent.call("aleph_list_my_vms"))["vms"]
        assert (listed["item_hash"], listed["mine"]) == (vm["item_hash"], True)
        daemon.restart()
        assert (await agent.call("aleph_destroy_vm", item_hash="box"))["status"] == "destroyed"
    assert daemon.leaves_nothing()


async def test_an_agent_that_leaves_during_a_create_leaves_a_tracked_vm_with_a_lease(net, daemon, tmp_path):
    """The session ends, the create does not, and neither does the lease's end."""
    net.fault({"latency_s": 1}, method="POST", path=NOTIFY, count=1)
    async with session(daemon, tmp_path) as agent:
        creating = asyncio.ensure_future(agent.call("aleph_create_vm", name="box", ttl_hours=6 / 3600))
        await eventually(daemon.live_instances)
        creating.cancel()
        await asyncio.gather(creating, return_exceptions=True)
    (row,) = await daemon.rows("live")
    assert daemon.live_instances() == [row["item_hash"]]
    await eventually(daemon.running, "the create to go on")
    await eventually(daemon.leaves_nothing, "its lease to end it")


async def test_an_environment_of_the_agents_cannot_raise_limits_or_change_the_payer(resident, tmp_path):
    """It may only tighten: a larger limit is ignored and told, another payer refuses the session's spending."""
    wish = {"ALEPH_AGENT_MAX_CONCURRENT_VMS": "99", "ALEPH_AGENT_MAX_TTL_HOURS": "1"}
    async with session(resident, tmp_path, environment=wish) as agent:
        assert any(
            "MAX_CONCURRENT_VMS" in alert for alert in (await agent.call("aleph_check_balance"))["alerts"]
        )
        assert "limit is 1" in await agent.refusal("aleph_create_vm", {"name": "box", "ttl_hours": 2})
    payer = {"ALEPH_AGENT_HUMAN_ADDRESS": resident.net.account("human")["address"]}
    async with session(resident, tmp_path, environment=payer) as agent:
        text = await agent.refusal("aleph_create_vm", {"name": "box", "ttl_hours": 1})
        assert "HUMAN_ADDRESS" in text
    assert resident.live_instances() == []
