"""The daemon's life under a real user manager: started by a connection, restarted, drained, watched and brought back."""

import socket
from pathlib import Path

import pytest

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import open_client
from support.agent import session
from support.service import SERVICE, SOCKET, Service
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


class TestLives(Lives):
    """Under the user's own manager."""
