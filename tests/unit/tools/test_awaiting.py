"""What an agent sees while a human decides."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from aleph_agentd.domain.approvals import BY_OWNER, ApprovalState
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.model import VmState
from aleph_agentd.tools import awaiting
from aleph_agentd.tools.toolbox import Toolbox
from support.world import ALICE, BOB, Machine, World


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at a request's state costs nothing here."""
    monkeypatch.setattr(awaiting, "_PAUSE_S", 0.01)


@pytest.fixture
async def world(machine: Machine) -> AsyncIterator[World]:
    """One life of the daemon, in which a human decides about leases of more than four hours or so."""
    async with machine.life(human_approval_threshold_units=80_000) as life:
        yield life


async def call(world: World, tool: str, caller: Any = ALICE, **arguments: Any) -> Any:
    """As a gateway does."""
    return await Toolbox(world.services).call(f"aleph_{tool}", arguments, caller=caller)


async def refusal(world: World, tool: str, caller: Any = ALICE, **arguments: Any) -> Refusal:
    """Its refusal."""
    with pytest.raises(Refusal) as refused:
        await call(world, tool, caller, **arguments)
    assert refused.value.hint
    return refused.value


async def test_a_create_above_the_threshold_answers_with_whom_to_ask(world: World) -> None:
    """With the mission's fields, and nothing created; the same call gets the same answer."""
    answer = await call(world, "create_vm", name="big", ttl_hours=8)
    assert (answer["status"], answer["item_hash"], answer["requires_confirmation"]) == (
        "awaiting_approval",
        None,
        False,
    )
    assert answer["total_cost_estimate"] == 11.4
    assert f"aleph-agentctl approve {answer['approval_id']}" in answer["approval_message"]
    assert "aleph_wait_vm" in answer["next"]
    assert any(answer["approval_id"] in alert for alert in answer["alerts"])
    again = await call(world, "create_vm", name="big", ttl_hours=8)
    assert again["approval_id"] == answer["approval_id"]
    assert (await call(world, "list_my_vms"))["vms"] == []
    assert world.network.asked("sign_instance") == [] and await world.rows() == []


async def test_a_confirmation_stands_in_for_nobody(world: World) -> None:
    """No argument approves anything, not even one that names the approval."""
    treasury = world.services.treasury
    treasury.limits = replace(treasury.limits, cost_threshold_units=1)
    asked = await call(world, "create_vm", name="big", ttl_hours=8)
    for quote in ("", asked["approval_id"]):
        again = await call(world, "create_vm", name="big", ttl_hours=8, confirmed=True, quote_id=quote)
        assert again["status"] == "awaiting_approval"
    assert (
        await refusal(world, "create_vm", name="big", approval_id=asked["approval_id"])
    ).code == "bad_input"
    assert await world.rows() == []


@pytest.mark.parametrize("by_name", [True, False])
async def test_waiting_goes_on_from_the_question_to_the_vm(world: World, by_name: bool) -> None:
    """By the request's id or the VM's name, with progress."""
    asked = await call(world, "create_vm", name="big", ttl_hours=8)
    told: asyncio.Queue[str] = asyncio.Queue()

    async def progress(_done: float, _total: float | None, message: str) -> None:
        told.put_nowait(message)

    reference = "big" if by_name else asked["approval_id"]
    waiting = asyncio.ensure_future(
        Toolbox(world.services).call(
            "aleph_wait_vm", {"item_hash": reference}, caller=ALICE, progress=progress
        )
    )
    assert "waits for the owner" in await asyncio.wait_for(told.get(), 10)
    await world.services.approvals.approve(asked["approval_id"], BY_OWNER)
    answer = await asyncio.wait_for(waiting, 10)
    assert (answer["name"], answer["ready"]) == ("big", True)
    assert answer["ssh_command"].startswith("ssh ")
    # And asking again is asking for the VM that is there.
    again = await call(world, "create_vm", name="big", ttl_hours=8)
    assert (again["item_hash"], again["status"]) == (answer["item_hash"], "running")
    assert len(await world.rows()) == 1


async def test_waiting_ends_with_its_patience(world: World) -> None:
    """And says what to do."""
    asked = await call(world, "create_vm", name="big", ttl_hours=8)
    answer = await call(world, "wait_vm", item_hash=asked["approval_id"], timeout_s=0.01)
    assert (answer["status"], answer["ready"], answer["approval_id"]) == (
        "awaiting_approval",
        False,
        asked["approval_id"],
    )


async def test_a_no_and_a_silence_are_told(world: World) -> None:
    """Each with its code."""
    denied = await call(world, "create_vm", name="big", ttl_hours=8)
    await world.services.approvals.deny(denied["approval_id"], BY_OWNER)
    assert (await refusal(world, "wait_vm", item_hash=denied["approval_id"])).code == "approval_denied"
    late = await call(world, "create_vm", name="big", ttl_hours=8)
    world.clock.forward(minutes=30)
    assert (await refusal(world, "wait_vm", item_hash=late["approval_id"])).code == "approval_expired"
    assert await world.rows() == []


async def test_a_yes_that_cannot_be_carried_out_is_told_and_kept(world: World) -> None:
    """What stood in the way, and that the same request is enough once it does not."""
    asked = await call(world, "create_vm", name="big", ttl_hours=8)
    world.network.key_trouble = "no key file"
    await world.services.approvals.approve(asked["approval_id"], BY_OWNER)
    told = await refusal(world, "wait_vm", item_hash=asked["approval_id"])
    assert told.code == "approved_not_done" and "no key" in told.message
    world.network.key_trouble = ""
    made = await call(world, "create_vm", name="big", ttl_hours=8)
    assert made["status"] == "running"
    assert (await call(world, "wait_vm", item_hash=asked["approval_id"]))["item_hash"] == made["item_hash"]


async def test_who_waits_for_a_yes_whose_job_was_cut_gets_its_vm(world: World) -> None:
    """Decided, and then the daemon died; another job does it, once."""
    asked = await call(world, "create_vm", name="big", ttl_hours=8)
    waiting = frozenset({ApprovalState.WAITING})
    now = world.clock.now()
    await world.inventory.decide(asked["approval_id"], waiting, ApprovalState.APPROVED, BY_OWNER, "", now)
    answers = await asyncio.gather(
        *(call(world, "wait_vm", item_hash=asked["approval_id"]) for _ in range(3))
    )
    assert [answer["ready"] for answer in answers] == [True] * 3
    assert len(await world.rows()) == 1


async def test_an_extension_above_the_threshold_waits_as_well(world: World) -> None:
    """Nothing moves before the yes; waiting for the request ends with the VM's new end."""
    vm = await world.create()
    asked = await call(world, "extend_vm", item_hash="box", additional_hours=4)
    assert (asked["status"], asked["new_ttl_expires_at"]) == ("awaiting_approval", None)
    assert (await world.row(vm)).expires_at == vm.expires_at
    again = await call(world, "extend_vm", item_hash="box", additional_hours=4)
    assert again["approval_id"] == asked["approval_id"]
    await world.services.approvals.approve(asked["approval_id"], BY_OWNER)
    answer = await call(world, "wait_vm", item_hash=asked["approval_id"])
    assert (answer["item_hash"], answer["ttl_expires_at"]) == (vm.item_hash, "2026-11-23T20:00:00Z")


async def test_another_session_s_request_is_nobody_else_s(world: World) -> None:
    """Not to be seen, and not to be waited for, by its id or by its name."""
    asked = await call(world, "create_vm", name="big", ttl_hours=8)
    for reference in (asked["approval_id"], "big"):
        assert (await refusal(world, "wait_vm", BOB, item_hash=reference)).code == "not_found"
    mine = await call(world, "create_vm", BOB, name="big", ttl_hours=8)
    assert mine["approval_id"] != asked["approval_id"]
    assert not any(asked["approval_id"] in alert for alert in mine["alerts"])


async def test_a_human_s_own_shell_is_asked_as_well(world: World) -> None:
    """`aleph-agentctl extend` can be run by an agent's shell: without a passphrase it lifts nothing."""
    vm = await world.create()
    human = replace(ALICE, session="human-1000", peer=replace(ALICE.peer, human=True))
    asked = await call(world, "extend_vm", human, item_hash=vm.item_hash, additional_hours=4)
    assert asked["status"] == "awaiting_approval"
    assert (await world.row(vm)).expires_at == vm.expires_at


async def test_a_create_that_is_under_way_is_waited_for_by_who_asks_again(world: World) -> None:
    """Not answered with a half-made VM."""
    hold = world.network.hold("notify")
    first = asyncio.ensure_future(call(world, "create_vm", name="small"))
    await hold.arrival()
    second = asyncio.ensure_future(call(world, "create_vm", name="small"))
    hold.go.set()
    one, two = await asyncio.gather(first, second)
    assert one["item_hash"] == two["item_hash"]
    assert (two["status"], len(await world.rows(VmState.RUNNING))) == ("running", 1)
