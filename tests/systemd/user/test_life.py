"""The daemon's life under a real user manager: started by a connection, restarted, drained, watched and brought back."""

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import open_client
from support.agent import session
from support.service import SERVICE, SOCKET, TIMER, Service

AGENTS = 20
CREATES = 5


async def test_the_first_agent_starts_the_daemon(service: Service, tmp_path: Path) -> None:
    """Cold: nothing runs but the sockets; `aleph-agent-mcp` gets its tools and rents a VM on devnet."""
    service.systemctl("stop", SERVICE)
    assert (service.active, service.show("ActiveState", SOCKET)) == ("inactive", "active")
    async with session(service, tmp_path) as agent:
        assert "aleph_create_vm" in await agent.tools()
        vm = await agent.call("aleph_create_vm", name="cold", ttl_hours=1)
        assert service.active == "active"
        assert vm["item_hash"] in service.net.running()
        service.eventually(lambda: "1 VM, next end in 59 min" in service.show("StatusText"), "the status")
        await agent.call("aleph_destroy_vm", item_hash=vm["item_hash"])
    service.eventually(lambda: service.show("StatusText").startswith("0 VMs"), "the status of nothing")


def test_the_usual_verbs_do_what_they_say(service: Service) -> None:
    """start, stop, restart, reload, status; stopping the socket stops everything, the second starter too."""
    first = service.pid
    service.systemctl("reload", SERVICE)
    service.eventually(lambda: "policy reloaded" in service.journal(), "the reload")
    assert service.pid == first and service.active == "active"
    assert "credits today" in service.systemctl("status", SERVICE)
    service.systemctl("restart", SERVICE)
    assert service.pid not in (0, first)
    service.systemctl("stop", SOCKET)
    assert service.active == "inactive"
    assert service.show("ActiveState", TIMER) == "inactive"
    assert not (service.runtime / "agent.sock").exists()
    service.systemctl("start", SERVICE)
    assert {service.show("ActiveState", unit) for unit in (SERVICE, SOCKET, TIMER)} == {"active"}


def test_a_hung_loop_is_killed_and_started_again(service: Service) -> None:
    """SIGSTOP: it answers nobody and reaps nothing; systemd notices, since nothing feeds the watchdog."""
    service.drop_in(SERVICE, "[Service]\nWatchdogSec=3s\nRestartSec=100ms\n")
    try:
        service.systemctl("restart", SERVICE)
        hung = service.pid
        os.kill(hung, signal.SIGSTOP)
        service.eventually(
            lambda: service.pid not in (0, hung) and service.active == "active", "a new daemon"
        )
        assert "watchdog" in service.journal().lower()
    finally:
        service.drop_in(SERVICE, "")


async def test_a_bad_configuration_is_told_once_and_starts_nothing_again(service: Service) -> None:
    """Exit 78: whoever waits at the socket gets one clear error, who has gone is forgotten, and systemd starts no more."""
    service.systemctl("stop", SERVICE)
    service.drop_in(SERVICE, "[Service]\nEnvironment=ALEPH_AGENT_MAX_CONCURRENT_VMS=many\n")
    try:
        with socket.socket(socket.AF_UNIX) as gone:
            gone.connect(str(service.runtime / "agent.sock"))
        async with open_client(service.runtime / "agent.sock") as client:
            with pytest.raises(Refusal) as refused:
                await client.call("tools.list", {})
        assert (refused.value.code, "MAX_CONCURRENT_VMS" in refused.value.message) == ("configuration", True)
        service.eventually(lambda: service.active == "failed", "the end")
        life = service.show("InvocationID")
        assert (service.show("ExecMainStatus"), service.show("ActiveState", SOCKET)) == ("78", "active")
        # Each start takes less than a second: one that spins is seen.
        with pytest.raises(AssertionError, match="not within"):
            service.eventually(lambda: service.show("InvocationID") != life, "another start", 3)
    finally:
        service.drop_in(SERVICE, "")
        service.systemctl("reset-failed", SERVICE)


async def test_kill_9_in_the_middle_of_a_create_loses_nothing(service: Service, tmp_path: Path) -> None:
    """The shim waits, asks again, and the agent has its one VM."""
    service.net.fault({"latency_s": 2}, path="/control/allocation/notify", count=1)
    async with session(service, tmp_path) as agent:
        creating = asyncio.create_task(agent.call("aleph_create_vm", name="cut", ttl_hours=1))
        while not service.net.instances("processed"):
            await asyncio.sleep(0.05)
        os.kill(service.pid, signal.SIGKILL)
        vm = await creating
        listed = (await agent.call("aleph_list_my_vms"))["vms"]
        assert [one["item_hash"] for one in listed] == [vm["item_hash"]]
        assert service.billed() == [vm["item_hash"]]
        await agent.call("aleph_destroy_vm", item_hash=vm["item_hash"])


async def test_sigterm_during_creates_ends_each_of_them_in_a_durable_state(
    service: Service, tmp_path: Path
) -> None:
    """Every agent gets its VM, from the old daemon or from the new one; nothing is rented twice."""
    service.net.fault({"latency_s": 1}, path="/control/allocation/notify")

    async def rent(number: int) -> str:
        folder = tmp_path / str(number)
        folder.mkdir()
        async with session(service, folder) as agent:
            vm = await agent.call("aleph_create_vm", name=f"drained-{number}", ttl_hours=1)
            return str(vm["item_hash"])

    renting = [asyncio.create_task(rent(number)) for number in range(CREATES)]
    while len(service.billed()) < CREATES:
        await asyncio.sleep(0.05)
    await asyncio.to_thread(service.systemctl, "restart", SERVICE)
    assert sorted(service.billed()) == sorted(await asyncio.gather(*renting))
    service.net.clear_faults()
    service.destroy_all()


async def test_twenty_agents_notice_nothing_of_a_restart_but_the_wait(
    service: Service, tmp_path: Path
) -> None:
    """An upgrade with clients connected: 0 failed calls."""
    together = asyncio.Barrier(AGENTS + 1)

    async def work(number: int) -> int:
        folder = tmp_path / str(number)
        folder.mkdir()
        async with session(service, folder) as agent:
            await agent.call("aleph_list_my_vms")
            await together.wait()
            for _ in range(5):
                await agent.call("aleph_list_my_vms")
        return 5

    async def restart() -> None:
        await together.wait()
        await asyncio.to_thread(service.systemctl, "restart", SERVICE)

    *answered, _ = await asyncio.gather(*(work(number) for number in range(AGENTS)), restart())
    assert answered == [5] * AGENTS


async def test_the_timer_brings_back_a_dead_daemon_which_reaps_what_ended_meanwhile(
    service: Service, tmp_path: Path
) -> None:
    """Nobody connects: the second starter alone ends the VM."""
    async with session(service, tmp_path) as agent:
        vm = await agent.call("aleph_create_vm", name="short", ttl_hours=8 / 3600)
    service.systemctl("stop", SERVICE)
    assert service.billed() == [vm["item_hash"]]
    service.drop_in(TIMER, "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/3\nAccuracySec=100ms\n")
    try:
        service.systemctl("restart", TIMER)
        service.eventually(lambda: not service.billed(), "the reaping")
        assert service.active == "active"
    finally:
        service.drop_in(TIMER, "")
        service.systemctl("restart", TIMER)


def test_a_daemon_that_was_stopped_with_its_socket_stays_stopped(service: Service) -> None:
    """The timer went with the socket: it has nothing to elapse for."""
    service.systemctl("stop", SOCKET)
    timers = service.systemctl("list-timers", "--all")
    assert TIMER not in timers or service.show("NextElapseUSecRealtime", TIMER) == ""
    assert service.active == "inactive"


def test_systemd_finds_nothing_to_say_about_the_units(service: Service) -> None:
    """`verify` exits 0 also for what it does not understand: only silence is good. And the exposure is at most 1.9."""
    units = [str(path) for path in sorted(service.unit_folder.glob("aleph-agentd.*")) if path.is_file()]
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", "--man=no", *units], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    path = str(service.unit_folder / SERVICE)
    score = ["systemd-analyze", "security", "--offline=true", "--threshold=19", path]
    assert subprocess.run(score, capture_output=True).returncode == 0
