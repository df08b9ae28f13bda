"""What the owner decides over control.sock, and what a peer without the passphrase cannot."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aleph_agentd.adapters.passphrase_file import FileOfPassphrase
from aleph_agentd.domain import passphrase as pure
from aleph_agentd.domain.caller import Peer
from aleph_agentd.domain.errors import BadInput, Denied
from aleph_agentd.gateway.ancestry import Clients
from aleph_agentd.gateway.control_approvals import ApprovalVerbs
from aleph_agentd.gateway.control_orphans import Orphans
from aleph_agentd.gateway.owner_guard import OwnerGuard
from aleph_agentd.services.passphrase import Passphrase
from aleph_agentd.tools.toolbox import Toolbox
from support.world import ALICE, Machine, World
from support.world_fixtures import machine, short_pauses

__all__ = ["machine", "short_pauses"]

SECRET = "correct horse"
ME = Peer(uid=os.getuid(), pid=os.getpid(), human=True)


@pytest.fixture
async def world(machine: Machine) -> AsyncIterator[World]:
    """A daemon in which a human decides about long leases."""
    async with machine.life(human_approval_threshold_units=80_000) as life:
        yield life


@pytest.fixture
async def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnerGuard:
    """The real one, with a passphrase."""
    monkeypatch.setattr(pure, "N", 2)
    guard = OwnerGuard(Passphrase(FileOfPassphrase(tmp_path)), Clients())
    await guard.passphrase.set(SECRET, None)
    return guard


async def ask(world: World, guard: OwnerGuard, method: str, **params: Any) -> dict[str, Any]:
    """Call a method as a process of this user would."""
    table: dict[str, Any] = {
        **ApprovalVerbs(world.services, guard).methods(),
        **Orphans(world.services, guard).methods(),
    }
    connection = SimpleNamespace(peer=ME)
    answer: dict[str, Any] = await table[method](connection, params)
    await world.quiet()
    return answer


async def asked(world: World) -> str:
    """The id of a request that waits."""
    arguments = {"name": "big", "ttl_hours": 8}
    answer = await Toolbox(world.services).call("aleph_create_vm", arguments, caller=ALICE)
    return str(answer["approval_id"])


async def test_the_owner_sees_and_approves(world: World, guard: OwnerGuard) -> None:
    """What, how much, who, what is left; then it is done and not listed any more."""
    approval_id = await asked(world)
    [row] = (await ask(world, guard, "approvals.list"))["approvals"]
    assert (row["id"], row["state"], row["at_most_credits"]) == (approval_id, "waiting", 12.1125)
    assert (row["pid"], row["uid"], row["project"]) == (4242, 1000, ALICE.project)
    assert row["what"] == "create big: 1 CU for 8 h, ubuntu22"
    done = await ask(world, guard, "approvals.approve", id=approval_id, passphrase=SECRET)
    assert (done["approval"]["state"], done["approval"]["decided_by"]) == ("used", "the owner")
    assert (await ask(world, guard, "approvals.list"))["approvals"] == []
    assert [r["id"] for r in (await ask(world, guard, "approvals.list", all=True))["approvals"]] == [
        approval_id
    ]
    assert len(await world.rows()) == 1


@pytest.mark.parametrize(
    "wrong", [{}, {"passphrase": "wrong horse"}, {"passphrase": None}, {"confirmed": True}]
)
async def test_without_the_passphrase_nothing_is_approved(
    world: World, guard: OwnerGuard, wrong: Any
) -> None:
    """It goes on waiting."""
    approval_id = await asked(world)
    with pytest.raises(Denied) as denied:
        await ask(world, guard, "approvals.approve", id=approval_id, **wrong)
    assert denied.value.code == "passphrase"
    [row] = (await ask(world, guard, "approvals.list"))["approvals"]
    assert row["state"] == "waiting" and await world.rows() == []


async def test_kin_of_an_agent_approves_nothing_with_the_right_passphrase(
    world: World, guard: OwnerGuard
) -> None:
    """Nor does it set one."""
    approval_id = await asked(world)
    guard.clients.opened(ME)
    for method, params in (
        ("approvals.approve", {"id": approval_id, "passphrase": SECRET}),
        ("approvals.deny", {"id": approval_id}),
        ("passphrase.set", {"passphrase": "another one", "old_passphrase": SECRET}),
        ("sweep.run", {"anyway": True, "passphrase": SECRET}),
        ("recover", {"others": True, "passphrase": SECRET}),
    ):
        with pytest.raises(Denied) as denied:
            await ask(world, guard, method, **params)
        assert denied.value.code == "ancestry", method
    assert await world.rows() == []


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("sweep.run", {"anyway": True}),
        ("recover", {"others": True}),
        ("orphans.adopt", {"item_hash": "ef" * 32}),
    ],
)
async def test_whatever_loosens_something_takes_the_passphrase(
    world: World, guard: OwnerGuard, method: str, params: dict[str, Any]
) -> None:
    """Adopting puts a VM of unknown origin on the owner's account for good."""
    world.network.stranger("ef" * 32)
    world.clock.forward(hours=1)
    await ask(world, guard, "sweep.run")
    with pytest.raises(Denied) as denied:
        await ask(world, guard, method, **params)
    assert denied.value.code == "passphrase"
    assert await world.rows() == []
    await ask(world, guard, "recover")


async def test_a_denial_takes_nothing(world: World, guard: OwnerGuard) -> None:
    """And ends it."""
    approval_id = await asked(world)
    answer = await ask(world, guard, "approvals.deny", id=approval_id)
    assert answer["approval"]["state"] == "denied"


@pytest.mark.parametrize("wrong", [None, 7, "", "x" * 65, ["ap-1"]])
async def test_what_is_no_id_is_refused(world: World, guard: OwnerGuard, wrong: Any) -> None:
    """With where to find one."""
    for method in ("approvals.approve", "approvals.deny"):
        with pytest.raises(BadInput, match="ap-"):
            await ask(world, guard, method, id=wrong, passphrase=SECRET)


async def test_a_passphrase_is_set_through_the_socket(world: World, guard: OwnerGuard) -> None:
    """Whether there is one is no secret."""
    assert await ask(world, guard, "passphrase.state") == {"set": True}
    assert await ask(world, guard, "passphrase.set", passphrase="another one", old_passphrase=SECRET)
    await guard.passphrase.check("another one")
    [event] = [e for e in await world.inventory.events(0, 99) if e.kind == "passphrase_set"]
    assert str(os.getpid()) in event.text and "another one" not in event.text
