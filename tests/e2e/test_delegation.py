"""The human pays and the agent signs: what a revocation leaves running is told until it is granted again."""

from collections.abc import AsyncIterator, Iterator

import pytest
from aleph.sdk.chains.ethereum import ETHAccount
from aleph.sdk.client import AuthenticatedAlephHttpClient
from aleph.sdk.types import Authorization
from aleph_message.models import MessageType

from aleph_agentd.domain.errors import Refusal
from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess

BOX = {"name": "box", "ttl_hours": 1}


@pytest.fixture
async def human(net: DevnetProcess) -> AsyncIterator[AuthenticatedAlephHttpClient]:
    """The payer with its own key, who grants again at the end what was granted at first."""
    async with AuthenticatedAlephHttpClient(
        ETHAccount(private_key=net.key("human")), api_server=net.api_host
    ) as client:
        yield client
        await grants(net, client)


async def grants(net: DevnetProcess, client: AuthenticatedAlephHttpClient) -> None:
    """All that is needed."""
    kinds = [MessageType.instance, MessageType.forget, MessageType.aggregate]
    await client.update_all_authorizations(
        [Authorization(address=net.account("agent")["address"], types=kinds)]
    )


@pytest.fixture
def daemon(net: DevnetProcess) -> Iterator[DaemonProcess]:
    """A daemon with the agent's key, for which the human pays."""
    payer = {
        "ALEPH_AGENT_HUMAN_ADDRESS": net.account("human")["address"],
        "ALEPH_AGENT_SWEEP_INTERVAL_S": "1",
    }
    with DaemonProcess(net, role="agent", environment=payer) as started:
        yield started


async def alerts(daemon: DaemonProcess) -> str:
    """What every answer says."""
    return " ".join((await daemon.call("aleph_check_balance"))["alerts"])


async def test_a_revocation_is_told_with_the_payer_s_commands_until_it_is_granted_again(net, daemon, human):
    """The VM whose billing could not be stopped meanwhile ends as soon as it can."""
    vm = await daemon.call("aleph_create_vm", BOX)
    assert net.message(vm["item_hash"])["address"] == net.account("human")["address"]
    assert await alerts(daemon) == ""

    await human.revoke_all_authorizations(net.account("agent")["address"])
    command = f"aleph message forget {vm['item_hash']}"
    await eventually(lambda: says(daemon, command), "the alarm")
    status = await daemon.control("status")
    assert any(command in alert for alert in status["alerts"])
    assert status["delegation"]["stranded"] == [vm["item_hash"]]
    assert daemon.log().count(command) == 1
    with pytest.raises(Refusal) as refused:
        await daemon.call("aleph_create_vm", {**BOX, "name": "other"})
    assert refused.value.code == "no_delegation"
    assert f"aleph authorizations add {daemon.address} " in refused.value.hint
    await daemon.call("aleph_destroy_vm", {"item_hash": "box"})
    assert vm["item_hash"] in daemon.live_instances(), "its billing cannot be stopped by this key"

    await grants(net, human)
    await eventually(daemon.leaves_nothing, "the VM to be off the network")
    assert await alerts(daemon) == ""
    assert (await daemon.call("aleph_create_vm", {**BOX, "name": "again"}))["status"]
    await daemon.call("aleph_destroy_vm", {"item_hash": "again"})


async def says(daemon: DaemonProcess, text: str) -> bool:
    """Whether every answer says so."""
    return text in await alerts(daemon)
