"""The webhook's queue: retried, bounded, and waited for by nobody."""

import asyncio

import pytest

from aleph_agentd.domain.notices import Cause, Notice
from aleph_agentd.ports import NotTold, StoreTrouble
from aleph_agentd.services import notifications
from aleph_agentd.services.notifications import MOST_TRIES, QUEUE, Notifications
from support.world import World


class Ear:
    """A notifier that hears, refuses, or hangs."""

    def __init__(self) -> None:
        self.heard: list[Notice] = []
        self.refuses = 0
        self.hangs = False
        self.asked = 0

    async def tell(self, notice: Notice) -> None:
        """Contract: `ports.Notifier`."""
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.refuses:
            self.refuses -= 1
            raise NotTold("hook.example answered 500")
        self.heard.append(notice)


async def listening(world: World) -> tuple[Ear, Notifications]:
    """Notifications that have begun to follow."""
    ear = Ear()
    telling = Notifications(world.inventory, ear, world.clock)
    await telling.once()
    return ear, telling


async def test_a_vm_s_end_is_told_with_its_name(world: World) -> None:
    """When its billing has ended, and not before."""
    ear, telling = await listening(world)
    vm = await world.create()
    await telling.once()
    assert ear.heard == []
    await world.end(vm)
    await telling.once()
    [told] = ear.heard
    assert (told.cause, told.item_hash, told.name) == (Cause.TORN_DOWN, vm.item_hash, "box")


async def test_what_was_before_the_start_is_not_told(world: World) -> None:
    """A restart calls nobody for what is old."""
    await world.inventory.record("orphan", "ab" * 32, "old", world.clock.now())
    ear, telling = await listening(world)
    await telling.once()
    assert ear.heard == []


async def test_a_failure_is_tried_again_later_and_later_and_given_up_in_the_end(world: World) -> None:
    """And the owner sees in every answer that nobody is told."""
    ear, telling = await listening(world)
    ear.refuses = MOST_TRIES
    await world.inventory.record("orphan", "ab" * 32, "found", world.clock.now())
    for tries in range(1, MOST_TRIES + 1):
        await telling.once()
        await telling.once()
        assert ear.asked == tries
        assert "answered 500" in telling.alerts()[0]
        world.clock.forward(minutes=10)
    assert telling.figures() | {"dropped": 1, "waiting": 0} == telling.figures()
    await world.inventory.record("clock", "", "odd", world.clock.now())
    await telling.once()
    assert [told.cause for told in ear.heard] == [Cause.ALARM]
    assert telling.alerts() == []


async def test_what_waits_is_bounded(world: World) -> None:
    """The oldest goes, and is counted."""
    ear, telling = await listening(world)
    ear.refuses = 1
    kinds = ("clock", "orphan", "low_balance", "approval_asked")
    for hour in range(QUEUE):
        for kind in kinds:
            await world.inventory.record(kind, "", f"{hour}", world.clock.now())
        telling._again_at = world.clock.now().replace(year=2999)
        await telling.once()
        world.clock.forward(hours=1)
    assert telling.figures()["waiting"] == QUEUE
    assert telling.figures()["dropped"] == QUEUE * (len(kinds) - 1)


async def test_a_notifier_that_hangs_delays_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A VM is made and ended while it does; and it does not hang for ever."""
    ear, telling = await listening(world)
    ear.hangs = True
    await world.inventory.record("orphan", "ab" * 32, "found", world.clock.now())
    hanging = asyncio.create_task(telling.run())
    while not ear.asked:
        await asyncio.sleep(0.001)
    vm = await world.create()
    assert (await world.end(vm)).forgotten_at is not None
    assert not hanging.done() and ear.asked == 1
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    monkeypatch.setattr(notifications, "TELL_S", 0.01)
    await telling.once()
    assert "does not answer" in telling.alerts()[0]


async def test_a_test_tells_what_the_webhook_said(world: World) -> None:
    """And is an event for every other listener."""
    ear, telling = await listening(world)
    assert (await telling.test())["webhook"] == "told"
    ear.refuses = 1
    assert (await telling.test())["webhook"] == "failed: hook.example answered 500"
    assert (await Notifications(world.inventory, None, world.clock).test())["webhook"] == "not set"
    kinds = [event.kind for event in await world.inventory.events(0, 100)]
    assert kinds.count("notify_test") == 3


async def test_without_a_webhook_nothing_runs(world: World) -> None:
    """It is off by default."""
    telling = Notifications(world.inventory, None, world.clock)
    await world.inventory.record("orphan", "ab" * 32, "found", world.clock.now())
    await asyncio.wait_for(telling.run(), 5)
    assert telling.figures() == {"webhook": False, "told": 0, "waiting": 0, "dropped": 0, "trouble": ""}


async def test_what_could_not_be_read_is_told_at_the_next_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although nothing was written in between."""
    ear, telling = await listening(world)
    await world.inventory.record("orphan", "ab" * 32, "found", world.clock.now())
    with monkeypatch.context() as patch:

        async def broken(*_: object) -> list[object]:
            raise StoreTrouble("the disk is away")

        patch.setattr(world.inventory, "events", broken)
        with pytest.raises(StoreTrouble):
            await telling.once()
    await telling.once()
    assert [notice.cause for notice in ear.heard] == [Cause.ORPHAN]
