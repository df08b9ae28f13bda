"""Extensions reach the network, are read back, and hold here all the same while they do not."""

import asyncio

import pytest

from aleph_agentd.domain.model import PublishedEnd, Vm
from aleph_agentd.services import publisher
from support.fake_network import ADDRESS
from support.world import ALICE, Machine, World


@pytest.fixture(autouse=True)
def short_publishing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between two tries, cut."""
    monkeypatch.setattr(publisher, "_TRY_PAUSES_S", (0, 0.01))
    monkeypatch.setattr(publisher, "_LOOK_PAUSES_S", (0, 0))


async def extended(world: World, hours: float = 2, vm: Vm | None = None) -> Vm:
    """A VM whose lease got longer."""
    return await world.services.extender.extend(vm or await world.create(), hours, ALICE)


async def test_a_lease_that_was_never_extended_needs_no_publishing(world: World) -> None:
    """Its stamp says it all."""
    assert await world.services.publisher.published(await world.create())
    assert world.network.of_kind("AGGREGATE") == {}


async def test_each_extension_is_published_under_its_own_number(world: World) -> None:
    """And read back: the network knows the end to the microsecond."""
    first = await extended(world)
    assert await world.services.publisher.published(first)
    second = await extended(world, vm=first)
    assert await world.services.publisher.published(second)
    ends = await world.network.published_ends(ADDRESS)
    assert ends == {first.item_hash: PublishedEnd(2, second.expires_at)}
    assert world.network.aggregates[ADDRESS][first.item_hash, 1] == first.expires_at
    assert await world.inventory.unpublished(10) == []


async def test_dates_only_grow_also_when_the_clock_does_not(world: World) -> None:
    """The network ignores what is dated before what it has seen."""
    vms = [await extended(world, vm=await world.create(name=f"box-{n}")) for n in range(3)]
    assert all(await asyncio.gather(*(world.services.publisher.published(vm) for vm in vms)))
    dates = world.network.dates[ADDRESS]
    assert len(set(dates)) == 3 and dates == sorted(dates)


async def test_an_extension_that_cannot_be_published_holds_and_is_published_later(world: World) -> None:
    """The caller is told; the next run goes on."""
    vm = await extended(world)
    world.network.fail("post", times=2)
    assert not await world.services.publisher.published(vm)
    assert (await world.row(vm)).expires_at == vm.expires_at
    assert await world.inventory.unpublished(10) == [vm]
    await world.services.publisher.run()
    await world.quiet()
    assert await world.inventory.unpublished(10) == []


async def test_one_whose_answer_was_lost_is_not_signed_twice(world: World) -> None:
    """It is there: reading says so."""
    vm = await extended(world)
    world.network.fail("post", when="after")
    assert await world.services.publisher.published(vm)
    assert len(world.network.of_kind("AGGREGATE")) == 1


async def test_a_crash_between_signing_and_posting_posts_the_same_bytes(machine: Machine) -> None:
    """What is signed is kept before it leaves."""
    async with machine.life() as world:
        vm = await extended(world)
        hold = world.network.hold("post")
        waiting = asyncio.ensure_future(world.services.publisher.published(vm))
        await hold.arrival()
        kept = await world.inventory.extension(vm.item_hash, 1)
        waiting.cancel()
    async with machine.life() as world:
        await world.services.publisher.run()
        await world.quiet()
        assert kept is not None
        assert list(world.network.of_kind("AGGREGATE")) == [kept.item_hash]
        assert await world.inventory.unpublished(10) == []


async def test_one_that_the_network_ignored_is_signed_anew_with_a_later_date(world: World) -> None:
    """Another writer was ahead of our clock; the same bytes would be ignored for ever."""
    world.network.dates[ADDRESS].append(
        world.clock.now().replace(microsecond=world.clock.now().microsecond + 1)
    )
    vm = await extended(world)
    world.clock.forward(microseconds=-1)
    if not await world.services.publisher.published(vm):
        world.clock.forward(seconds=1)
        await world.services.publisher.run()
        await world.quiet()
    assert await world.inventory.unpublished(10) == []


async def test_without_a_key_it_waits(world: World) -> None:
    """Nothing is signed, and nothing fails."""
    vm = await extended(world)
    world.network.key_trouble = "no key file"
    await world.services.publisher.run()
    assert not await world.services.publisher.published(vm)
    assert world.network.of_kind("AGGREGATE") == {}
