"""A human above the threshold, with real processes: what an agent cannot do by itself, and what happens after a yes."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from aleph_agentd.domain.errors import Refusal
from support.agent import session
from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess
from support.owner import SECRET, approve, owner, set_passphrase

THRESHOLD = {"ALEPH_AGENT_HUMAN_APPROVAL_THRESHOLD": "8 cr"}
"""The worst case of 8 hours is 12.1 credits, of one hour 2.1."""
BIG = {"name": "big", "ttl_hours": 8}


@pytest.fixture
def daemon(net: DevnetProcess) -> Iterator[DaemonProcess]:
    """A daemon whose owner wants to be asked early."""
    with DaemonProcess(net, environment=THRESHOLD) as started:
        yield started


async def refused(daemon: DaemonProcess, method: str, **params: object) -> str:
    """The code with which control.sock refuses this process."""
    with pytest.raises(Refusal) as refusal:
        await daemon.control(method, params)
    return refusal.value.code


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_vm_above_the_threshold_is_created_when_and_only_when_the_owner_says_so(
    daemon, tmp_path, mode
):
    """Asked by an agent, approved on a terminal, created by the daemon for that agent, waited for by it."""
    await set_passphrase(daemon)
    async with session(daemon, tmp_path, mode=mode) as agent:
        asked = await agent.call("aleph_create_vm", **BIG)
        assert (asked["status"], asked["item_hash"]) == ("awaiting_approval", None)
        assert daemon.instances() == [] and await daemon.rows() == []
        waiting = asyncio.ensure_future(agent.call("aleph_wait_vm", item_hash="big"))
        await eventually(lambda: any("waits for the owner" in told for told in agent.progress))
        said = await approve(daemon, asked["approval_id"])
        assert "create big: 1 CU for 8 h" in said and "12.1125 cr" in said and SECRET not in said
        vm = await waiting
        assert vm["ready"] is True and daemon.live_instances() == [vm["item_hash"]]
        (listed,) = (await agent.call("aleph_list_my_vms"))["vms"]
        assert (listed["item_hash"], listed["mine"]) == (vm["item_hash"], True)
        code, said = await owner(daemon, ["approve", asked["approval_id"]], [("Passphrase", SECRET)])
        assert code == 1 and "does not wait" in said
        assert (await agent.call("aleph_destroy_vm", item_hash="big"))["status"] == "destroyed"
    assert len(daemon.instances()) == 1 and SECRET not in daemon.log()


async def test_an_agent_cannot_approve_its_own_request(daemon, tmp_path):
    """Not over agent.sock, not from its shell with the right passphrase, not when its shim is gone."""
    await set_passphrase(daemon)
    async with session(daemon, tmp_path) as agent:
        approval_id = (await agent.call("aleph_create_vm", **BIG))["approval_id"]
        async with daemon.open() as client:
            methods = (await client.call("hello", {}))["methods"]
            assert sorted(methods) == ["hello", "mcp.open", "ping", "tools.call", "tools.list"]
            for method in ("approvals.approve", "approvals.deny", "passphrase.set"):
                with pytest.raises(Refusal) as unknown:
                    await client.call(method, {"id": approval_id, "passphrase": SECRET})
                assert unknown.value.code == "unknown_method"
        # This process started the shim: it is the agent's client, and what it starts is the agent's shell.
        assert await refused(daemon, "approvals.approve", id=approval_id, passphrase=SECRET) == "ancestry"
        assert await refused(daemon, "passphrase.set", passphrase=SECRET, old_passphrase=SECRET) == "ancestry"
        code, said = await owner(daemon, ["approve", approval_id], [("Passphrase", SECRET)], kin=True)
        assert code == 1 and "as an agent" in said
    assert await refused(daemon, "approvals.approve", id=approval_id, passphrase=SECRET) == "ancestry"
    assert daemon.instances() == []
    [row] = (await daemon.control("approvals.list"))["approvals"]
    assert row["state"] == "waiting" and "python" in row["parents"]


async def test_the_passphrase_is_asked_for_and_guesses_are_slowed_down(daemon):
    """Unset, missing, wrong, and too often wrong: each with its code; nothing is created."""
    approval_id = (await daemon.call("aleph_create_vm", BIG))["approval_id"]
    assert await refused(daemon, "approvals.approve", id=approval_id, passphrase="") == "passphrase_unset"
    code, said = await owner(daemon, ["approve", approval_id], [])
    assert code == 1 and "aleph-agentctl passphrase set" in said
    await set_passphrase(daemon)
    codes = [
        await refused(daemon, "approvals.approve", id=approval_id, **wrong)
        for wrong in ({}, *({"passphrase": f"guess number {n}"} for n in range(6)))
    ]
    assert codes == ["passphrase"] * 5 + ["passphrase_wait"] * 2
    assert await refused(daemon, "approvals.approve", id=approval_id, passphrase=SECRET) == "passphrase_wait"
    assert daemon.instances() == [] and "guess" not in daemon.log()


async def test_splitting_a_large_request_into_small_ones_is_caught(daemon, tmp_path):
    """Over all sessions of a user; the first that would pass the threshold waits."""
    await daemon.call("aleph_create_vm", {"name": "one", "ttl_hours": 1})
    async with session(daemon, tmp_path) as agent:
        await agent.call("aleph_create_vm", name="two", ttl_hours=1)
        extended = await agent.call("aleph_extend_vm", item_hash="two", additional_hours=1)
        assert extended["status"] == "extended"
        third = await agent.call("aleph_create_vm", name="three", ttl_hours=2)
        assert third["status"] == "awaiting_approval"
        more = await agent.call("aleph_extend_vm", item_hash="two", additional_hours=3)
        assert (more["status"], more["new_ttl_expires_at"]) == ("awaiting_approval", None)
    assert len(daemon.instances()) == 2


async def test_a_question_outlives_the_daemon_and_its_answer_is_used_once(daemon, tmp_path):
    """Killed while it waits, and killed again right after the yes: one VM."""
    await set_passphrase(daemon)
    async with session(daemon, tmp_path) as agent:
        asked = await agent.call("aleph_create_vm", **BIG)
        daemon.restart()
        assert (await agent.call("aleph_create_vm", **BIG))["approval_id"] == asked["approval_id"]
        await approve(daemon, asked["approval_id"])
        daemon.restart()
        vm = await agent.call("aleph_wait_vm", item_hash=asked["approval_id"])
        assert vm["ready"] is True
    assert len(daemon.instances()) == 1
    assert daemon.live_instances() == [vm["item_hash"]]


async def test_a_no_is_told_to_who_waits(daemon, tmp_path):
    """And nothing was created."""
    async with session(daemon, tmp_path) as agent:
        asked = await agent.call("aleph_create_vm", **BIG)
        code, said = await owner(daemon, ["deny", asked["approval_id"]], [])
        assert code == 0, said
        assert "approval_denied" in await agent.refusal("aleph_wait_vm", {"item_hash": asked["approval_id"]})
    assert daemon.instances() == []


async def test_a_policy_that_changed_meanwhile_voids_the_question(daemon):
    """On SIGHUP, whatever changed."""
    config = daemon.home / ".config" / "aleph-agentd" / "config.toml"
    await set_passphrase(daemon)
    approval_id = (await daemon.call("aleph_create_vm", BIG))["approval_id"]
    config.parent.mkdir(parents=True)
    config.write_text("[policy]\nmax_creates_per_hour = 19\napproval_by_client = true\n")
    daemon.send(signal.SIGHUP)
    await eventually(lambda: "policy reloaded" in daemon.log())
    assert await refused(daemon, "approvals.approve", id=approval_id, passphrase=SECRET) == "policy_changed"
    assert daemon.instances() == []
