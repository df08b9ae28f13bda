"""Freezing: at once, for everybody or for one project, and until a human lifts it."""

import pytest

from aleph_agentd.domain.caller import Caller, Peer
from aleph_agentd.domain.errors import Denied, Refusal, Unavailable
from aleph_agentd.domain.model import VmState
from aleph_agentd.services.freezes import Freezes
from support.world import ALICE, BOB, Machine, World


async def test_a_freeze_stops_creates_and_extends_of_every_session_at_once(world: World) -> None:
    """What runs goes on."""
    vm = await world.create()
    await world.services.freezes.freeze("something smells", "the owner")
    for caller in (ALICE, BOB):
        with pytest.raises(Denied) as denied:
            await world.create(caller, name=f"more-{caller.session}")
        assert denied.value.code == "frozen"
        assert "aleph-agentctl unfreeze" in denied.value.hint
    with pytest.raises(Denied):
        await world.services.extender.extend(vm, 1, ALICE)
    assert (await world.row(vm)).state is VmState.RUNNING
    assert len(await world.rows()) == 1


async def test_a_project_s_freeze_touches_no_other_project_and_no_extension(world: World) -> None:
    """rules.md 13."""
    vm = await world.create()
    await world.services.freezes.freeze("enough", "an agent", ALICE.project)
    with pytest.raises(Denied):
        await world.create(ALICE, name="more")
    await world.create(BOB, name="bobs")
    assert (await world.services.extender.extend(vm, 1, ALICE)).lease_version == 2


async def test_without_a_project_a_session_freezes_itself_alone(world: World) -> None:
    """Two sessions that name no project are not one."""
    from aleph_agentd.domain.freezes import scope_of

    nameless = [Caller(name, Peer(1000, 1)) for name in ("one", "two")]
    await world.services.freezes.freeze("enough", "an agent", scope_of("", "one"))
    with pytest.raises(Denied):
        await world.create(nameless[0], name="a")
    await world.create(nameless[1], name="b")


async def test_a_create_that_is_frozen_before_its_post_sends_nothing(world: World) -> None:
    """rules.md 5: asked again right before every POST of an INSTANCE."""

    async def freeze(_: str) -> None:
        await world.services.freezes.freeze("now", "the owner")

    world.network.before("estimate", freeze)
    with pytest.raises(Denied):
        await world.create()
    assert world.network.posted == []
    assert await world.rows() == []


async def test_a_create_that_is_frozen_before_its_notify_is_undone(world: World) -> None:
    """Its INSTANCE was processed; no CRN ever hears of it."""
    done: list[str] = []

    async def freeze(item_hash: str) -> None:
        if not done:
            done.append(item_hash)
            await world.services.freezes.freeze("now", "the owner")

    world.network.before("status", freeze)
    with pytest.raises(Refusal) as refusal:
        await world.create()
    assert "frozen" in refusal.value.message
    await world.quiet()
    assert world.network.asked("notify") == []
    assert world.network.billed() == []


async def test_a_freeze_survives_a_restart(machine: Machine) -> None:
    """Until somebody lifts it."""
    async with machine.life() as world:
        await world.services.freezes.freeze("drift", "aleph-agentd")
        await world.services.freezes.freeze("drift", "aleph-agentd")
    async with machine.life() as world:
        assert len(world.services.freezes.standing) == 1
        assert "drift" in world.services.freezes.alerts()[0]
        with pytest.raises(Denied):
            await world.create()
        assert await world.services.freezes.lift("the owner") == 1
        await world.create()


async def test_lifting_one_project_s_freeze_leaves_the_others(world: World) -> None:
    """None lifts everything."""
    freezes = world.services.freezes
    for scope in ("", "/a", "/b"):
        await freezes.freeze("why", "somebody", scope)
    assert await freezes.lift("the owner", "/a") == 1
    assert [freeze.scope for freeze in freezes.standing] == ["", "/b"]
    assert await freezes.lift("the owner") == 2
    assert freezes.standing == ()
    assert await freezes.lift("the owner") == 0


async def test_what_is_not_known_yet_is_frozen(world: World) -> None:
    """Unknown = refuse."""
    with pytest.raises(Unavailable):
        Freezes(world.inventory, world.clock).check("create", ALICE)
