"""A human pays, an agent signs: what the security aggregate allows, and what revoking it ends."""

from aleph.sdk.types import Authorization
from aleph_message.models import MessageType
from pytest import raises

from support.local_network import UNKNOWN, LocalNetwork


async def delegate(net: LocalNetwork, *entries: Authorization) -> None:
    """The human replaces all authorizations, with the SDK."""
    await (await net.sdk("human")).update_all_authorizations(list(entries))
    await net.advance(1)


async def create(net: LocalNetwork, **changes) -> str:
    """The agent creates a VM that the human pays for."""
    return await net.create("agent", address=net.address("human"), **changes)


async def test_a_delegate_creates_on_the_payers_account(net: LocalNetwork) -> None:
    """Owner/payer = `content.address`; sender/signer = the key that signs."""
    item_hash = await create(net)
    state = await net.control("state")
    (message,) = [m for m in state["messages"] if m["item_hash"] == item_hash]
    assert (message["sender"], message["address"]) == (net.address("agent"), net.address("human"))
    assert state["charges"][0]["address"] == net.address("human")


async def test_without_a_delegation_a_create_is_code_2(net: LocalNetwork) -> None:
    """[obs] 2 sender not authorised for `address`."""
    with raises(ValueError, match="Unknown error code 2"):
        await net.create("agent", address=net.address())


async def test_instance_alone_suffices_to_forget_and_to_erase(net: LocalNetwork) -> None:
    """[obs] INSTANCE suffices to FORGET and to erase."""
    await delegate(net, Authorization(address=net.address("agent"), types=[MessageType.instance]))
    item_hash = await create(net)
    await net.running(item_hash)
    await (await net.sdk("agent")).forget([item_hash], reason="done", sync=True)
    assert await net.status(item_hash) == "forgotten"
    assert (await (await net.vm_client(role="agent")).erase_instance(item_hash))[0] == 200


async def test_revocation_acts_at_once_on_the_ccn(net: LocalNetwork) -> None:
    """[obs] Revocation acts at once on the CCN (create → code 2, FORGET → 422)."""
    item_hash = await create(net)
    await (await net.sdk("human")).revoke_all_authorizations(net.address("agent"))
    await net.advance(1)
    with raises(ValueError, match="Unknown error code 2"):
        await create(net)
    assert (await net.post(await net.signed_forget(item_hash, role="agent")))[0] == 422
    assert await net.status(item_hash) == "processed"


async def test_a_crn_caches_a_delegation_for_two_minutes(net: LocalNetwork) -> None:
    """[obs] the CRN caches for 120 s."""
    item_hash = await create(net)
    await net.running(item_hash)
    client = await net.vm_client(role="agent")
    assert (await client.reboot_instance(item_hash))[0] == 200
    await delegate(net)
    assert (await client.reboot_instance(item_hash))[0] == 200
    agent, human, crn = net.address("agent"), net.address("human"), net.network.crns[0]
    await net.advance(100)
    assert crn.may_operate(agent, human)
    await net.advance(20)
    assert not crn.may_operate(agent, human)


async def test_an_erase_by_a_stranger_is_403(net: LocalNetwork) -> None:
    """[obs] 403 "Unauthorized sender" (wrong key)."""
    item_hash = await create(net)
    await net.running(item_hash)
    await delegate(net)
    client = await net.vm_client(role="agent")
    assert await client.erase_instance(item_hash) == (403, "Unauthorized sender")


async def test_channels_and_keys_limit_a_delegation(net: LocalNetwork) -> None:
    """`channels`, `types` and `aggregate_keys` limit what a delegate may send; an empty list does not."""
    agent = net.address("agent")
    await delegate(net, Authorization(address=agent, channels=["OTHER"]))
    with raises(ValueError, match="Unknown error code 2"):
        await create(net)
    ports = Authorization(address=agent, types=[MessageType.aggregate], aggregate_keys=["port-forwarding"])
    await delegate(net, ports)
    client, owner = await net.sdk("agent"), net.address("human")
    await client.create_aggregate("port-forwarding", {UNKNOWN: None}, address=owner, sync=True)
    with raises(Exception, match="rejected"):
        await client.create_aggregate("other", {"a": 1}, address=owner, sync=True)


async def test_a_delegate_cannot_extend_its_own_delegation(net: LocalNetwork) -> None:
    """The security aggregate takes its owner's word only."""
    with raises(Exception, match="rejected"):
        await (await net.sdk("agent")).create_aggregate(
            "security", {"authorizations": []}, address=net.address("human"), sync=True
        )


async def test_received_authorizations_can_be_read(net: LocalNetwork) -> None:
    """[obs] `GET /api/v0/authorizations/received/{agent}.json`."""
    _, body = await net.get(f"/api/v0/authorizations/received/{net.address('agent')}.json")
    (terms,) = body["authorizations"][net.address("human")]
    assert terms["types"] == ["INSTANCE", "FORGET", "AGGREGATE"]
    _, body = await net.get(f"/api/v0/authorizations/granted/{net.address('human')}.json")
    assert list(body["authorizations"]) == [net.address("agent")]


async def test_the_payer_may_forget_what_its_delegate_made(net: LocalNetwork) -> None:
    """A revoked delegation's VM can be forgotten by the payer alone (rules.md 22)."""
    item_hash = await create(net)
    await (await net.sdk("human")).forget([item_hash], reason="mine", sync=True)
    assert await net.status(item_hash) == "forgotten"
