"""What each kind of installation lives through: hung, killed, drained, restarted under agents, brought back by its timer."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

from support.agent import session
from support.service import SERVICE, SOCKET, TIMER, Service

AGENTS = 20
CREATES = 5


class Lives:
    """Tests of the daemon of `service`, with agents of the account that may use it."""

    stops_with_its_socket: tuple[str, ...] = (SERVICE, TIMER)
    exposure = 19
    """At most, in tenths, as `systemd-analyze security` counts it."""

    def test_the_usual_verbs_do_what_they_say(self, service: Service) -> None:
        """start, stop, restart, reload, status; stopping the socket stops everything, the second starter too."""
        first = service.pid
        service.systemctl("reload", SERVICE)
        service.eventually(lambda: "policy reloaded" in service.journal(), "the reload")
        assert service.pid == first and service.active == "active"
        assert "credits today" in service.systemctl("status", SERVICE)
        service.systemctl("restart", SERVICE)
        assert service.pid not in (0, first)
        service.systemctl("stop", SOCKET)
        units = self.stops_with_its_socket
        assert {service.show("ActiveState", unit) for unit in units} == {"inactive"}
        assert not (service.runtime / "agent.sock").exists()
        service.systemctl("start", SERVICE)
        assert {service.show("ActiveState", unit) for unit in (*units, SOCKET)} == {"active"}

    def test_systemd_finds_nothing_to_say_about_the_units(self, service: Service) -> None:
        """`verify` exits 0 also for what it does not understand: only silence is good. And little is exposed."""
        units = [str(path) for path in sorted(service.unit_folder.glob("aleph-agentd*")) if path.is_file()]
        verify = ["systemd-analyze", *service.options, "verify", "--man=no", *units]
        done = subprocess.run(verify, capture_output=True, text=True)
        assert (len(units), done.returncode, done.stdout, done.stderr) == (4, 0, "", "")
        path = str(service.unit_folder / SERVICE)
        score = ["systemd-analyze", "security", "--offline=true", f"--threshold={self.exposure}", path]
        assert subprocess.run(score, capture_output=True).returncode == 0

    def test_a_hung_loop_is_killed_and_started_again(self, service: Service) -> None:
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

    async def test_kill_9_in_the_middle_of_a_create_loses_nothing(
        self, service: Service, tmp_path: Path
    ) -> None:
        """The shim waits, asks again, and the agent has its one VM."""
        service.net.fault({"latency_s": 2}, path="/control/allocation/notify", count=1)
        async with session(service, tmp_path, account=service.agent) as agent:
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
        self, service: Service, tmp_path: Path
    ) -> None:
        """Every agent gets its VM, from the old daemon or from the new one; nothing is rented twice."""
        service.net.fault({"latency_s": 1}, path="/control/allocation/notify")

        async def rent(number: int) -> str:
            folder = tmp_path / str(number)
            folder.mkdir()
            async with session(service, folder, account=service.agent) as agent:
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
        self, service: Service, tmp_path: Path
    ) -> None:
        """An upgrade with clients connected: 0 failed calls."""
        together = asyncio.Barrier(AGENTS + 1)

        async def work(number: int) -> int:
            folder = tmp_path / str(number)
            folder.mkdir()
            async with session(service, folder, account=service.agent) as agent:
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
        self, service: Service, tmp_path: Path
    ) -> None:
        """Nobody connects: the second starter alone ends the VM."""
        async with session(service, tmp_path, account=service.agent) as agent:
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

    def test_a_daemon_that_was_stopped_with_its_socket_stays_stopped(self, service: Service) -> None:
        """The timer went with the socket: it has nothing to elapse for."""
        service.systemctl("stop", SOCKET)
        timers = service.systemctl("list-timers", "--all")
        assert TIMER not in timers or service.show("NextElapseUSecRealtime", TIMER) == ""
        assert service.active == "inactive"
