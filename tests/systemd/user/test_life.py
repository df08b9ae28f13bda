"""The daemon's life under a real user manager: started by a connection, restarted, drained, watched and brought back."""

import socket
import subprocess
from pathlib import Path

import pytest

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import open_client
from support.agent import session
from support.service import SERVICE, SOCKET, TIMER, Service
from support.service_lives import Lives


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


class TestLives(Lives):
    """Under the user's own manager."""
