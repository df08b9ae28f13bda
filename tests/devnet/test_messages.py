"""Publishing: what the CCN answers, and what it says afterwards."""

import time

import pytest
from aleph.sdk.exceptions import InvalidMessageError, MessageNotFoundError
from aleph_message.models import Payment, PaymentType
from aleph_message.status import MessageStatus
from pydantic import ValidationError

from support.local_network import UNKNOWN, LocalNetwork, rehashed


async def test_a_sync_create_is_answered_with_processed(net: LocalNetwork) -> None:
    """[obs] 200 `message_status: processed`: sync, done."""
    client = await net.sdk()
    message, status = await client.create_instance(**net.plan(), sync=True)
    assert status == MessageStatus.PROCESSED
    assert await client.get_message_status(message.item_hash) == MessageStatus.PROCESSED
    found, shown = await client.get_message(message.item_hash, with_status=True)
    assert (found.item_hash, found.content.address, shown) == (message.item_hash, net.address(), "processed")


async def test_an_async_create_is_pending_and_soon_processed(net: LocalNetwork) -> None:
    """[obs] 202 `pending`: async."""
    message = await net.signed_instance()
    status, body = await net.post(message, sync=False)
    assert (status, body["message_status"]) == (202, "pending")
    assert body["publication_status"] == {"status": "success", "failed": []}
    await net.advance(1)
    assert await net.status(message["item_hash"]) == "processed"


async def test_the_same_bytes_again_are_one_message_and_one_charge(net: LocalNetwork) -> None:
    """[obs] Re-posting the same bytes is harmless: one message, one charge, answer 202."""
    message = await net.signed_instance()
    assert (await net.post(message))[0] == 200
    assert (await net.post(message))[0] == 202
    state = await net.control("state")
    assert [m["status"] for m in state["messages"] if m["type"] == "INSTANCE"] == ["processed"]
    assert len(state["charges"]) == 1


async def test_create_instance_twice_makes_two_paid_vms(net: LocalNetwork) -> None:
    """[obs] `create_instance()` is not retry-safe: every call stamps a new time."""
    assert await net.create() != await net.create()
    assert len((await net.control("state"))["charges"]) == 2


async def test_a_rejected_create_tells_its_reason_only_through_get(net: LocalNetwork) -> None:
    """[obs] 422 JSON `rejected`; error_code 6 with account_credits, min_runtime_days, required_credits."""
    message = await net.signed_instance("unfunded")
    status, body = await net.post(message)
    assert (status, body["message_status"]) == (422, "rejected")
    status, shown = await net.get(f"/api/v0/messages/{message['item_hash']}")
    assert (status, shown["status"], shown["error_code"]) == (200, "rejected", 6)
    assert shown["details"]["errors"] == [
        {"account_credits": "0", "required_credits": "342000", "min_runtime_days": 1}
    ]


async def test_the_sdk_does_not_know_error_code_6(net: LocalNetwork) -> None:
    """[obs] The SDK raises ValueError("Unknown error code 6: …") for it."""
    with pytest.raises(ValueError, match="Unknown error code 6"):
        await net.create("unfunded")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda m: {**m, "item_hash": UNKNOWN}, id="hash mismatch"),
        pytest.param(lambda m: {k: v for k, v in m.items() if k != "sender"}, id="missing sender"),
        pytest.param(lambda m: rehashed(m, metadata={"a": {"b": 1}}), id="nested metadata"),
        pytest.param(lambda m: rehashed(m, rootfs=None), id="content that is no instance"),
        pytest.param(lambda m: {**m, "type": "NONSENSE"}, id="unknown type"),
        pytest.param(lambda _: "text", id="no object"),
    ],
)
async def test_a_malformed_message_is_never_stored(net: LocalNetwork, spoil) -> None:
    """[obs] 422 text `InvalidMessageFormat`: never stored, GET → 404."""
    message = spoil(await net.signed_instance())
    assert await net.post(message) == (422, "InvalidMessageFormat")
    if isinstance(message, dict):
        assert (await net.get(f"/api/v0/messages/{message['item_hash']}"))[0] == 404


async def test_a_time_that_is_text_breaks_the_node(net: LocalNetwork) -> None:
    """[obs] 500 text, e.g. `time` sent as an ISO string."""
    status, body = await net.post({**await net.signed_instance(), "time": "2026-01-01T00:00:00"})
    assert status == 500
    assert isinstance(body, str)


async def test_nested_metadata_fails_in_the_sdk_already(net: LocalNetwork) -> None:
    """[obs] Metadata: nested → SDK ValidationError."""
    with pytest.raises(ValidationError):
        await net.create(metadata={"lease": {"id": 1}})


async def test_a_wrong_signature_is_code_1(net: LocalNetwork) -> None:
    """[obs] Error codes: 1 bad signature."""
    message = rehashed(await net.signed_instance(), metadata={"changed": "after signing"})
    assert (await net.post(message))[0] == 422
    assert (await net.get(f"/api/v0/messages/{message['item_hash']}"))[1]["error_code"] == 1


async def test_hold_payment_is_code_202(net: LocalNetwork) -> None:
    """[obs] 202 non-credit payment; the SDK's default payment is *hold*, which nodes reject."""
    message = await net.signed_instance(payment=Payment(chain="ETH", type=PaymentType.hold))
    assert (await net.post(message))[0] == 422
    assert (await net.get(f"/api/v0/messages/{message['item_hash']}"))[1]["error_code"] == 202


async def test_an_unknown_image_is_retried_for_minutes_and_then_rejected(net: LocalNetwork) -> None:
    """[obs] 301 rootfs unknown to the CCN (stays pending, retried about 3 min, then rejected)."""
    message = await net.signed_instance(rootfs=UNKNOWN)
    assert (await net.post(message))[0] == 202
    await net.advance(100)
    assert await net.status(message["item_hash"]) == "pending"
    await net.advance(300)
    assert (await net.get(f"/api/v0/messages/{message['item_hash']}"))[1]["error_code"] == 301


async def test_a_pending_message_is_processed_once_its_image_is_known(net: LocalNetwork) -> None:
    """[obs] 301 … stays pending, retried."""
    message = await net.signed_instance(rootfs=UNKNOWN)
    await net.post(message)
    await net.control("images", {"item_hash": UNKNOWN})
    await net.advance(60)
    assert await net.status(message["item_hash"]) == "processed"


async def test_get_message_of_a_pending_message_raises_key_error(net: LocalNetwork) -> None:
    """[obs] *pending* has `messages` (a list, no `message`): the SDK's `get_message` raises KeyError."""
    message = await net.signed_instance(rootfs=UNKNOWN)
    await net.post(message)
    with pytest.raises(KeyError):
        await (await net.sdk()).get_message(message["item_hash"])


async def test_get_message_of_a_rejected_message_raises_validation_error(net: LocalNetwork) -> None:
    """[obs] *rejected* … an extra `origin`: `get_message` raises a ValidationError, use `get_message_error`."""
    message = await net.signed_instance("unfunded")
    await net.post(message)
    client = await net.sdk()
    with pytest.raises(ValidationError):
        await client.get_message(message["item_hash"])
    error = await client.get_message_error(message["item_hash"])
    assert error is not None
    assert error["error_code"] == 6


async def test_what_is_unknown_is_404_and_what_is_no_hash_is_400(net: LocalNetwork) -> None:
    """[obs] `GET /messages/{h}`: 200 for every known status; 400 if not a hash; status: 404 = unknown."""
    assert (await net.get("/api/v0/messages/nonsense"))[0] == 400
    assert (await net.get(f"/api/v0/messages/{UNKNOWN}/status"))[0] == 404
    with pytest.raises(MessageNotFoundError):
        await (await net.sdk()).get_message_status(UNKNOWN)


async def test_the_status_carries_the_nodes_reception_time(net: LocalNetwork) -> None:
    """`{status, item_hash, reception_time}`; `reception_time` is the CCN's."""
    item_hash = await net.create()
    _, body = await net.get(f"/api/v0/messages/{item_hash}/status")
    assert set(body) == {"status", "item_hash", "reception_time"}


async def test_a_message_a_year_old_is_accepted(net: LocalNetwork) -> None:
    """[obs] Message `time` may be a year old and is accepted."""
    message = {**await net.signed_instance(), "time": time.time() - 365 * 86_400}
    assert (await net.post(message))[0] == 200


async def test_rejected_bytes_sent_again_are_dropped_until_the_node_forgets_that_it_saw_them(
    net: LocalNetwork,
) -> None:
    """[obs] REJECTED is not terminal: another CCN will process the bytes once the reason is gone."""
    message = await net.signed_instance("unfunded")
    assert (await net.post(message))[0] == 422
    await net.control("credits", {"address": net.address("unfunded"), "units": 1_000_000})
    assert (await net.post(message))[0] == 202
    assert await net.status(message["item_hash"]) == "rejected"
    assert (await net.control("replay", {"item_hash": message["item_hash"]}))["status"] == "processed"
    assert await net.status(message["item_hash"]) == "processed"


async def test_a_size_off_the_tiers_is_accepted_and_rounded_up(net: LocalNetwork) -> None:
    """CU = max(vcpus, ceil(mem/2048)); a size off the tiers is accepted by nodes."""
    await net.create(vcpus=2, memory=5 * 1024, rootfs_size=61_440)
    _, costs = await net.get("/api/v0/costs", address=net.address(), include_details=1)
    assert costs["resources"][0]["cost_credit"] == "11.875"


async def test_a_rejected_forget_raises_in_the_sdk(net: LocalNetwork) -> None:
    """[obs] Someone else's VM: 422, code 2."""
    item_hash = await net.create()
    stranger = await net.sdk("unfunded")
    with pytest.raises(InvalidMessageError):
        await stranger.forget([item_hash], reason="mine", sync=True)
    assert await net.status(item_hash) == "processed"
