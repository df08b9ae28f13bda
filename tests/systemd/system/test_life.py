"""The system unit under a real system manager: started by an agent of another account, restarted, reloaded, stopped."""

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


class TestLives(Lives):
    """Under the system's manager, with agents of another account."""

    stops_with_its_socket = (SERVICE, CONTROL_SOCKET_UNIT, TIMER)
    exposure = 14
