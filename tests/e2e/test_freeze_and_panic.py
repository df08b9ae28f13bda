"""The owner's buttons over a real daemon, network and command line (issue 4, Shows 5)."""

import asyncio
import sys
from collections.abc import Iterator

import pytest

from aleph_agentd.domain.errors import Refusal
from support.daemon import DaemonProcess, call_tool, eventually
from support.devnet import DevnetProcess

VMS = 20
LIMITS = {
    "ALEPH_AGENT_MAX_CONCURRENT_VMS": "50",
    "ALEPH_AGENT_MAX_CREATES_PER_HOUR": "100",
    "ALEPH_AGENT_MAX_DAILY_SPEND": "100000 cr",
    "ALEPH_AGENT_BALANCE_GUARD_PERCENT": "100",
}


@pytest.fixture
def daemon(net: DevnetProcess) -> Iterator[DaemonProcess]:
    """A running daemon with room for many."""
    with DaemonProcess(net, environment=LIMITS) as started:
        yield started


async def ctl(daemon: DaemonProcess, *words: str) -> tuple[int, str]:
    """Run the real aleph-agentctl; exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "aleph_agentd.control",
        *words,
        env=daemon.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 110)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_panic_ends_twenty_vms_on_a_network_that_fails(
    daemon: DaemonProcess, net: DevnetProcess
) -> None:
    """One CRN is dead and the CCN fails every third call; exit 0 means that all are forgotten."""
    async with daemon.open() as client:
        creates = (
            call_tool(client, "aleph_create_vm", {"name": f"vm-{n}", "ttl_hours": 2}) for n in range(VMS)
        )
        made = await asyncio.gather(*creates)
    assert len(daemon.live_instances()) == VMS
    dead = next(crn["hash"] for crn in net.crns if crn["name"] == made[0]["crn_name"])
    await net.call(net.crn_down, dead)
    await net.call(net.fault, {"drop": "before"}, node="ccn", path="/api/*", probability=1 / 3)
    code, said = await ctl(daemon, "panic", "--yes")
    assert code == 0, said
    assert daemon.live_instances() == []
    assert len(daemon.instances("forgotten")) == VMS
    with pytest.raises(Refusal) as denied:
        await daemon.call("aleph_create_vm", {"name": "more", "ttl_hours": 1})
    assert denied.value.code == "frozen"
    net.clear_faults()
    await eventually(daemon.leaves_nothing, "the CRN that is back to be asked again")


async def test_a_panic_goes_on_after_the_daemon_was_killed(daemon: DaemonProcess, net: DevnetProcess) -> None:
    """It is durable."""
    for n in range(2):
        await daemon.call("aleph_create_vm", {"name": f"vm-{n}", "ttl_hours": 2})
    net.fault({"drop": "before"}, node="ccn", path="/api/*")
    await daemon.control("panic", {"confirm": "destroy every VM"})
    daemon.kill()
    net.clear_faults()
    daemon.start()
    await eventually(daemon.leaves_nothing, "the panic to be carried on")
    assert (await daemon.control("panic.status"))["panics"] is True


async def test_a_freeze_holds_in_every_session_and_an_agent_s_only_in_its_own_project(
    daemon: DaemonProcess,
) -> None:
    """Lifted by the owner alone."""
    async with daemon.open() as one, daemon.open() as two:
        await call_tool(one, "aleph_create_vm", {"name": "before", "ttl_hours": 1})
        code, _ = await ctl(daemon, "freeze", "a smell")
        assert code == 0
        for client in (one, two):
            with pytest.raises(Refusal):
                await call_tool(client, "aleph_create_vm", {"name": "after", "ttl_hours": 1})
        assert any("a smell" in alert for alert in (await daemon.call("aleph_check_balance"))["alerts"])
        with pytest.raises(Exception, match="unfreeze"):
            await one.call("unfreeze", {}, 10)
        await call_tool(one, "aleph_destroy_vm", {"item_hash": "before"})
    daemon.restart()
    with pytest.raises(Refusal):
        await daemon.call("aleph_create_vm", {"name": "after", "ttl_hours": 1})
