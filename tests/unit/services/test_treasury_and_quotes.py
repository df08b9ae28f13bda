"""Balances, prices and quotes: what is shown is what is kept."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from aleph_agentd.domain.caller import SessionLimits
from aleph_agentd.domain.errors import BadInput, Unavailable
from aleph_agentd.domain.model import VmState
from aleph_agentd.ports import KeyMissing
from aleph_agentd.services import treasury as treasury_module
from aleph_agentd.services.treasury import (
    MAX_QUOTES,
    MAX_QUOTES_PER_SESSION,
    MAX_QUOTES_PER_UID,
    QUOTE_VALID_S,
)
from support.world import ALICE, BOB, World, a_request


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The treasury's own stop-watch, moved by hand."""
    watch = SimpleNamespace(at=1000.0)
    monkeypatch.setattr(treasury_module, "time", SimpleNamespace(monotonic=lambda: watch.at))
    return watch


async def _quoted(world: World, caller: Any = ALICE, **request: Any) -> Any:
    return world.services.planner.remember(await world.plan(caller, **request), caller)


async def _confirmed(world: World, caller: Any = ALICE, quote_id: str = "", **request: Any) -> Any:
    return await world.services.planner.plan(a_request(**request), caller, confirmed=True, quote_id=quote_id)


async def test_a_confirmed_quote_keeps_its_crn(world: World) -> None:
    """rules.md 24: even when the list has another favourite by now."""
    quote = await _quoted(world)
    world.network.crn_list = tuple(reversed(world.network.crn_list))
    best = replace(world.network.crn_list[0], score=2.0)
    world.network.crn_list = (best, *world.network.crn_list[1:])
    plan = await _confirmed(world)
    assert plan.quote == quote
    assert plan.crn == quote.crn
    assert (await _confirmed(world, name="other")).crn == best


async def test_a_quote_is_used_once(world: World) -> None:
    """A second create asks again."""
    quote = await _quoted(world)
    assert world.services.treasury.use_quote(quote)
    assert not world.services.treasury.use_quote(quote)
    assert (await _confirmed(world)).quote is None


async def test_a_quote_is_valid_for_ten_minutes(world: World, monotonic: SimpleNamespace) -> None:
    """To the second."""
    quote = await _quoted(world)
    monotonic.at += QUOTE_VALID_S
    assert (await _confirmed(world)).quote == quote
    monotonic.at += 0.001
    assert (await _confirmed(world)).quote is None


async def test_another_session_s_quote_is_not_accepted(world: World) -> None:
    """Not even by its id."""
    quote = await _quoted(world)
    assert (await _confirmed(world, BOB)).quote is None
    assert (await _confirmed(world, BOB, quote_id=quote.id)).quote is None
    assert (await _confirmed(world, quote_id=quote.id)).quote == quote


@pytest.mark.parametrize(
    "other",
    [
        {"name": "other"},
        {"compute_units": 2},
        {"ttl_hours": 4.5},
        {"os_image": "debian12"},
        {"crn": "crn-2"},
        {"max_hourly_units": 10**6},
    ],
)
async def test_a_quote_is_bound_to_its_request(world: World, other: dict[str, Any]) -> None:
    """A yes to one thing is no yes to another."""
    await _quoted(world)
    assert (await _confirmed(world, **other)).quote is None


async def test_an_id_that_is_not_the_quote_s_is_not_it(world: World) -> None:
    """A guess is no confirmation."""
    await _quoted(world)
    assert (await _confirmed(world, quote_id="q-0000000000000000")).quote is None


@pytest.mark.parametrize(
    ("factor", "holds"), [("1.049", True), ("1.051", False), ("0.951", True), ("0.949", False)]
)
async def test_a_price_that_moved_by_more_than_five_percent_voids_the_quote(
    world: World, factor: str, holds: bool
) -> None:
    """Within it the live price counts."""
    quote = await _quoted(world)
    world.network.price_moves(factor)
    plan = await _confirmed(world)
    assert (plan.quote == quote) is holds
    assert plan.rate == world.network.cu_rate


async def test_a_session_that_asks_for_many_quotes_loses_its_own_oldest_ones(world: World) -> None:
    """Nobody else's."""
    others, first = await _quoted(world, BOB), await _quoted(world)
    plan = await world.plan()
    for _ in range(MAX_QUOTES_PER_SESSION):
        world.services.planner.remember(plan, ALICE)
    assert not world.services.treasury.use_quote(first)
    assert world.services.treasury.use_quote(others)


@pytest.mark.parametrize(("uids", "most"), [(1, MAX_QUOTES_PER_UID), (1000, MAX_QUOTES)])
async def test_only_so_many_quotes_are_remembered(world: World, uids: int, most: int) -> None:
    """Of one user, in however many sessions, and of all together."""
    plan = await world.plan()
    for n in range(most + 1):
        peer = replace(ALICE.peer, uid=n % uids)
        world.services.planner.remember(plan, replace(ALICE, session=f"s{n}", peer=peer))
    assert len(world.services.treasury._quotes) == most


async def test_a_quote_holds_only_while_the_policy_does(world: World) -> None:
    """Made under other limits, it is asked for anew."""
    treasury = world.services.treasury
    quote = await _quoted(world)
    before, treasury.limits = treasury.limits, replace(treasury.limits, max_compute_units=12)
    assert (await _confirmed(world)).quote is None
    treasury.limits = before
    assert (await _confirmed(world)).quote == quote


@pytest.mark.parametrize("factor", ["0.07", "71"])
async def test_a_price_out_of_all_reason_stops_creates(world: World, factor: str) -> None:
    """design.md section 8: the network changed its unit."""
    world.network.price_moves(factor)
    with pytest.raises(Unavailable) as refused:
        await world.plan()
    assert refused.value.code == "price_unit_changed"


@pytest.mark.parametrize("method", ["price", "crns"])
async def test_what_the_network_does_not_tell_is_not_guessed(world: World, method: str) -> None:
    """Unavailable, with the next step."""
    world.network.fail(method)
    with pytest.raises(Unavailable, match="not known now") as refused:
        await world.plan()
    assert refused.value.hint


async def test_an_unknown_image_is_refused_with_those_there_are(world: World) -> None:
    """And its name is cut."""
    with pytest.raises(BadInput, match="no image") as refused:
        await world.plan(os_image="x" * 5000)
    assert "debian12" in refused.value.hint
    assert len(refused.value.message) < 100


async def test_the_payer_is_the_human_when_there_is_one(world: World) -> None:
    """Delegated mode; else our own account; without a key nobody."""
    treasury = world.services.treasury
    assert treasury.payer == world.network.address
    world.network.key_trouble = "no key"
    assert treasury.payer == ""
    with pytest.raises(Unavailable, match="no usable key"):
        await treasury.balance()
    treasury._human_address = "0xHuman"
    assert treasury.payer == "0xHuman"
    assert await treasury.balance() == 100_000_000


async def test_the_budget_that_is_left_is_the_least_of_all_limits(machine: Any) -> None:
    """Null without a limit, never negative."""
    async with machine.life() as world:
        await world.create()
        exposure = (await world.services.treasury.overview("alice")).exposure
        left = world.services.treasury.budget_left
        limits = world.services.treasury.limits
        assert left(limits, exposure) is None
        daily = replace(limits, max_daily_spend_units=100_000)
        assert left(daily, exposure) == 100_000 - 64_125
        assert left(replace(daily, max_session_spend_units=70_000), exposure) == 70_000 - 64_125
        assert left(replace(daily, max_session_spend_units=1), exposure) == 0


async def test_an_overview_is_read_again_only_when_something_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cached balance costs no database read."""
    await world.create()
    reads = 0
    exposure = world.inventory.exposure

    async def count(*asked: Any, **of: Any) -> Any:
        nonlocal reads
        reads += 1
        return await exposure(*asked, **of)

    monkeypatch.setattr(world.inventory, "exposure", count)
    monkeypatch.setattr(treasury_module, "_OVERVIEW_AGE_S", 3600)
    for _ in range(5):
        assert len((await world.services.treasury.overview("alice")).newest) == 1
    assert reads == 1
    await world.create(name="two")
    assert len((await world.services.treasury.overview("alice")).newest) == 2


async def test_an_overview_tells_the_next_end_and_what_is_stuck_of_all_vms(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only of the newest."""
    monkeypatch.setattr(treasury_module, "_NEWEST", 1)
    failing = await world.create(name="failing", ttl_hours=1)
    world.clock.forward(seconds=1)
    first = await world.create(name="first", ttl_hours=2)
    world.clock.forward(seconds=1)
    newest = await world.create(name="newest", ttl_hours=3)
    now = world.clock.now()
    await world.inventory.move(failing.item_hash, VmState.DESTROYING, "asked", now, attempts=6)
    overview = await world.services.treasury.overview("alice")
    assert [vm.item_hash for vm in overview.newest] == [newest.item_hash]
    assert overview.next_end is not None
    assert overview.next_end.item_hash == first.item_hash
    assert [vm.item_hash for vm in overview.stuck] == [failing.item_hash]


async def test_a_session_s_wishes_tighten_its_own_limits_only(world: World) -> None:
    """The owner's stay."""
    caller = replace(ALICE, limits=SessionLimits(max_concurrent_vms=1, max_ttl_hours=10_000))
    limits = world.services.treasury.limits_of(caller)
    assert limits.max_concurrent_vms == 1
    assert limits.max_ttl_hours == world.services.treasury.limits.max_ttl_hours
    assert world.services.treasury.limits_of(BOB) == world.services.treasury.limits


async def test_a_quote_says_what_would_refuse_it_now(machine: Any) -> None:
    """Quotes always answer."""
    async with machine.life(max_concurrent_vms=1) as world:
        plan = await world.plan(name="two")
        assert await world.services.planner.objections(plan, ALICE) == []
        await world.create()
        [objection] = await world.services.planner.objections(plan, ALICE)
        assert "max_concurrent_vms" in objection
        [objection] = await world.services.planner.objections(await world.plan(), ALICE)
        assert "name_taken" in objection


async def test_vms_under_our_key_that_we_did_not_make_take_slots_too(machine: Any) -> None:
    """rules.md 8: limits count every live VM of our sender."""
    async with machine.life(max_concurrent_vms=1) as world:
        world.network.stranger("ab" * 32)
        world.clock.forward(hours=1)
        await world.services.sweeper.run()
        [objection] = await world.services.planner.objections(await world.plan(), ALICE)
        assert "max_concurrent_vms" in objection


async def test_a_key_that_its_inventory_refuses_pays_for_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first use claims it; whoever only asks who pays gets an answer, not a mistake of ours."""

    def refuse(_: Any) -> str:
        raise KeyMissing("another daemon holds it")

    monkeypatch.setattr(type(world.network), "address", property(refuse))
    assert world.services.treasury.payer == ""
