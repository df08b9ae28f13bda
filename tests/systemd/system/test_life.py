"""The system unit under a real system manager: started by an agent of another account, restarted, reloaded, stopped."""

import subprocess
from pathlib import Path

from support.agent import session
from support.service import SERVICE, SOCKET, TIMER
from support.service_lives import Lives
from support.system_service import AGENT, CONTROL_SOCKET_UNIT, SystemService, as_user


async def test_an_agent_of_another_account_starts_the_daemon_and_rents(service: SystemService) -> None:
    """Cold: nothing runs but the sockets; the real shim of that account gets a VM, signed with the sealed key."""
    service.systemctl("stop", SERVICE)
    assert (service.active, service.show("ActiveState", SOCKET)) == ("inactive", "active")
    async with session(service, Path("/home", AGENT), account=as_user(AGENT)) as agent:
        vm = await agent.call("aleph_create_vm", name="cold", ttl_hours=1)
        assert service.active == "active"
        assert service.billed() == [vm["item_hash"]]
        service.eventually(lambda: "1 VM, next end in 59 min" in service.show("StatusText"), "the status")
        await agent.call("aleph_destroy_vm", item_hash=vm["item_hash"])
    service.eventually(lambda: not service.billed(), "the end of the VM")


def test_the_usual_verbs_do_what_they_say(service: SystemService) -> None:
    """start, stop, restart, reload, status; stopping the socket stops everything, the second starter too."""
    first = service.pid
    service.systemctl("reload", SERVICE)
    service.eventually(lambda: "policy reloaded" in service.journal(), "the reload")
    assert service.pid == first and service.active == "active"
    assert "credits today" in service.systemctl("status", SERVICE)
    service.systemctl("restart", SERVICE)
    assert service.pid not in (0, first)
    service.systemctl("stop", SOCKET)
    units = (SERVICE, CONTROL_SOCKET_UNIT, TIMER)
    assert {service.show("ActiveState", unit) for unit in units} == {"inactive"}
    assert not (service.runtime / "agent.sock").exists()
    service.systemctl("start", SERVICE)
    assert {service.show("ActiveState", unit) for unit in (*units, SOCKET)} == {"active"}


def test_systemd_finds_nothing_to_say_about_the_units(service: SystemService) -> None:
    """`verify` exits 0 also for what it does not understand: only silence is good. The exposure is at most 1.4."""
    units = [str(path) for path in sorted(service.unit_folder.glob("aleph-agentd*")) if path.is_file()]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    assert (len(units), done.returncode, done.stdout, done.stderr) == (4, 0, "", "")
    path = str(service.unit_folder / SERVICE)
    score = ["systemd-analyze", "security", "--offline=true", "--threshold=14", path]
    assert subprocess.run(score, capture_output=True).returncode == 0


class TestLives(Lives):
    """Under the system's manager, with agents of another account."""
