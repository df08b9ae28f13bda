"""FORGET, the only message that ends billing, and the ways in which it does not."""

from aleph.sdk.exceptions import ForgottenMessageError
from aleph_message.status import MessageStatus
from pytest import raises

from support.local_network import UNKNOWN, LocalNetwork

RETRIES_END_S = 400


async def test_forget_takes_effect_at_once_when_sync(net: LocalNetwork) -> None:
    """[obs] use sync=True; verify with `/status` = forgotten."""
    item_hash = await net.create()
    client = await net.sdk()
    _, status = await client.forget([item_hash], reason="done", sync=True)
    assert status == MessageStatus.PROCESSED
    assert await net.status(item_hash) == "forgotten"
    with raises(ForgottenMessageError):
        await client.get_message(item_hash)


async def test_forget_defaults_to_pending(net: LocalNetwork) -> None:
    """`client.forget` defaults to sync=False (only "pending")."""
    item_hash = await net.create()
    _, status = await (await net.sdk()).forget([item_hash], reason=None)
    assert status == MessageStatus.PENDING
    await net.advance(1)
    assert await net.status(item_hash) == "forgotten"


async def test_a_forgotten_message_names_its_forget(net: LocalNetwork) -> None:
    """[obs] *forgotten* has `forgotten_by`."""
    item_hash = await net.create()
    forget = await net.signed_forget(item_hash)
    await net.post(forget)
    _, shown = await net.get(f"/api/v0/messages/{item_hash}")
    assert (shown["status"], shown["forgotten_by"]) == ("forgotten", [forget["item_hash"]])
    assert "content" not in shown["message"]


async def test_a_forget_ends_the_charge(net: LocalNetwork) -> None:
    """[obs] FORGET is what ends billing; erase on the CRN does not."""
    item_hash = await net.create(requirements=net.on_crn())
    await net.running(item_hash)
    status, _ = await (await net.vm_client()).erase_instance(item_hash)
    assert status == 200
    await net.advance(3600)
    assert (await net.control("state"))["charges"][0]["to"] is None
    await net.post(await net.signed_forget(item_hash))
    charge = (await net.control("state"))["charges"][0]
    assert charge["units"] >= 14_250
    await net.advance(3600)
    assert (await net.control("state"))["charges"] == [charge]


async def test_a_second_forget_is_pending_and_later_rejected_with_501(net: LocalNetwork) -> None:
    """[obs] Second FORGET …: 202 at first, later rejected with 501: harmless."""
    item_hash = await net.create()
    await net.post(await net.signed_forget(item_hash, "first"))
    second = await net.signed_forget(item_hash, "second")
    assert (await net.post(second))[0] == 202
    await net.advance(RETRIES_END_S)
    _, shown = await net.get(f"/api/v0/messages/{second['item_hash']}")
    assert (shown["status"], shown["error_code"]) == ("rejected", 501)
    assert await net.status(item_hash) == "forgotten"


async def test_the_same_forget_again_is_harmless(net: LocalNetwork) -> None:
    """[obs] Re-sending the same signed FORGET is harmless."""
    item_hash = await net.create()
    forget = await net.signed_forget(item_hash)
    assert [(await net.post(forget))[0] for _ in range(2)] == [200, 202]
    assert await net.status(forget["item_hash"]) == "processed"


async def test_a_forget_of_an_unknown_hash_is_retried_for_about_four_minutes(net: LocalNetwork) -> None:
    """[obs] 501 FORGET target not found (same retry path, observed 3–4 min)."""
    forget = await net.signed_forget(UNKNOWN)
    assert (await net.post(forget))[0] == 202
    await net.advance(150)
    assert await net.status(forget["item_hash"]) == "pending"
    await net.advance(150)
    _, shown = await net.get(f"/api/v0/messages/{forget['item_hash']}")
    assert (shown["error_code"], shown["details"]) == (501, {"errors": [{"message": UNKNOWN}]})


async def test_one_unknown_hash_blocks_the_whole_forget(net: LocalNetwork) -> None:
    """[obs] One unknown hash in a multi-hash FORGET blocks all of it."""
    item_hash = await net.create()
    forget = await net.signed_forget(item_hash, hashes=[item_hash, UNKNOWN])
    assert (await net.post(forget))[0] == 202
    await net.advance(RETRIES_END_S)
    assert await net.status(item_hash) == "processed"
    assert await net.status(forget["item_hash"]) == "rejected"


async def test_a_forget_of_a_pending_target_waits_for_it(net: LocalNetwork) -> None:
    """FORGET of a pending target is retried until the target is processed."""
    message = await net.signed_instance(rootfs=UNKNOWN)
    await net.post(message)
    await net.post(await net.signed_forget(message["item_hash"]))
    await net.control("images", {"item_hash": UNKNOWN})
    await net.advance(100)
    assert await net.status(message["item_hash"]) == "forgotten"


async def test_a_forget_of_a_rejected_target_does_nothing(net: LocalNetwork) -> None:
    """[obs] rejected or removed target: 202 at first, later rejected with 501."""
    message = await net.signed_instance("unfunded")
    await net.post(message)
    forget = await net.signed_forget(message["item_hash"], role="unfunded")
    assert (await net.post(forget))[0] == 202
    await net.advance(RETRIES_END_S)
    assert await net.status(forget["item_hash"]) == "rejected"
    assert await net.status(message["item_hash"]) == "rejected"


async def test_a_forget_of_a_removed_target_is_501_for_ever(net: LocalNetwork) -> None:
    """[obs] rejected or removed target: … later rejected with 501."""
    item_hash = await net.create()
    await net.control(f"messages/{item_hash}", {"status": "removed"})
    forget = await net.signed_forget(item_hash)
    assert (await net.post(forget))[0] == 202
    await net.advance(RETRIES_END_S)
    assert await net.status(item_hash) == "removed"


async def test_a_removing_target_can_be_forgotten(net: LocalNetwork) -> None:
    """Post a FORGET only when its target is processed or removing (rules.md 3)."""
    item_hash = await net.create()
    await net.control(f"messages/{item_hash}", {"status": "removing"})
    assert (await net.post(await net.signed_forget(item_hash)))[0] == 200
    assert await net.status(item_hash) == "forgotten"


async def test_a_forget_signed_before_its_instance_works_whatever_its_date(net: LocalNetwork) -> None:
    """[obs] A FORGET signed before its INSTANCE was broadcast, dated 30 days back or tomorrow, took effect."""
    now = net.network.clock.now()
    for moment in (now - 30 * 86_400, now + 86_400):
        message = await net.signed_instance()
        forget = await net.signed_forget(message["item_hash"], time=moment)
        await net.post(message)
        assert (await net.post(forget))[0] == 200
        assert await net.status(message["item_hash"]) == "forgotten"


async def test_a_forget_that_was_posted_too_early_is_burnt(net: LocalNetwork) -> None:
    """[obs] It can be burnt: rejected once, the same bytes do nothing later; other bytes work."""
    message = await net.signed_instance()
    burnt, fresh = [await net.signed_forget(message["item_hash"], reason) for reason in ("a", "b")]
    assert (await net.post(burnt))[0] == 202
    await net.advance(RETRIES_END_S)
    assert await net.status(burnt["item_hash"]) == "rejected"
    await net.post(message)
    assert (await net.post(burnt))[0] == 202
    await net.advance(RETRIES_END_S)
    assert await net.status(message["item_hash"]) == "processed"
    assert (await net.post(fresh))[0] == 200
    assert await net.status(message["item_hash"]) == "forgotten"


async def test_a_forget_cannot_be_forgotten(net: LocalNetwork) -> None:
    """A FORGET that names a FORGET is rejected with 502."""
    item_hash = await net.create()
    forget = await net.signed_forget(item_hash)
    await net.post(forget)
    assert (await net.post(await net.signed_forget(forget["item_hash"])))[0] == 422


async def test_many_forgets_leave_no_charge_open(net: LocalNetwork) -> None:
    """Every one of many VMs is forgotten, and the money adds up."""
    await net.control("credits", {"address": net.address(), "units": 10**12})
    hashes = []
    for number in range(150):
        message = await net.signed_instance(metadata={"number": number})
        assert (await net.post(message))[0] == 200
        hashes.append(message["item_hash"])
    for item_hash in hashes:
        assert (await net.post(await net.signed_forget(item_hash)))[0] == 200
    state = await net.control("state")
    spent = sum(charge["units"] for charge in state["charges"])
    assert state["balances"][net.address()] == 10**12 + net.network.options.credits - spent
    assert net.network.chain.ledger.payers[net.address()].rate_milli == 0
