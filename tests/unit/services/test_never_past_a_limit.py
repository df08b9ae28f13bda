"""No sequence of tool calls gets what is spent and reserved past a limit (issue 4, Shows 1)."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aleph_agentd.domain.caller import Caller, Peer, SessionLimits
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.limits import Limits
from aleph_agentd.domain.model import LEASED
from aleph_agentd.tools.toolbox import Toolbox
from support.world import LIMITS, Machine, World


def _rarely(some: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly no limit: else one of many refuses everything, and the others are never tried."""
    return st.one_of(st.none(), st.none(), some)


UNITS = _rarely(st.integers(0, 20).map(lambda n: n * 21_375))
BURN = _rarely(st.integers(1, 5).map(lambda n: n * 14_250))
OWNER = st.fixed_dictionaries(
    {
        "max_concurrent_vms": st.integers(1, 6),
        "max_session_spend_units": UNITS,
        "max_daily_spend_units": UNITS,
        "max_hourly_burn_units": BURN,
        "max_creates_per_hour": st.integers(1, 8),
        "max_extensions": _rarely(st.integers(0, 2)),
        "human_approval_threshold_units": UNITS,
        "cost_threshold_units": st.integers(0, 200_000),
    }
)
BUDGET = st.builds(
    SessionLimits,
    max_concurrent_vms=_rarely(st.integers(0, 3)),
    max_daily_spend_units=UNITS,
    max_hourly_burn_units=BURN,
    max_ttl_hours=_rarely(st.floats(0.5, 24)),
)
PROJECTS = ("/work", "/work/a", "/work/a/deep", "/elsewhere")
CALLERS = [
    Caller(f"s{n}", Peer(1000, n), project=project, client="pytest") for n, project in enumerate(PROJECTS)
] + [Caller("tight", Peer(1000, 9), limits=SessionLimits(max_session_spend_units=70_000))]
NAMES = st.sampled_from(["one", "two", "three", "four", "five"])
WHO = st.sampled_from(CALLERS)
HOURS = st.sampled_from([0.1, 1, 1.5, 4, 10, 24])
CREATE = st.fixed_dictionaries(
    {
        "name": NAMES,
        "compute_units": st.sampled_from([1, 2, 4, 6]),
        "ttl_hours": HOURS,
        "confirmed": st.booleans(),
    }
)
WHICH = st.integers(0, 5)
"""Which of the live VMs, counted from the oldest."""
EXTEND = st.fixed_dictionaries({"item_hash": WHICH, "additional_hours": HOURS})
CREATES = st.tuples(st.just("aleph_create_vm"), WHO, CREATE)
STEP = st.one_of(
    CREATES,
    CREATES,
    CREATES,
    CREATES,
    st.tuples(st.just("aleph_extend_vm"), WHO, EXTEND),
    st.tuples(st.just("aleph_extend_vm"), WHO, EXTEND),
    st.tuples(st.just("aleph_destroy_vm"), WHO, st.fixed_dictionaries({"item_hash": WHICH})),
    st.tuples(st.just("pass"), WHO, st.fixed_dictionaries({"minutes": st.integers(1, 600)})),
)


STEPS = st.tuples(st.lists(CREATES, min_size=2, max_size=5), st.lists(STEP, max_size=12)).map(
    lambda parts: parts[0] + parts[1]
)


async def _pass(world: World, minutes: int) -> None:
    """Time goes by as it does while the daemon runs: every lease that ends is reaped then."""
    until = world.clock.now() + timedelta(minutes=minutes)
    while (left := until - world.clock.now()) > timedelta():
        due = await world.inventory.next_due_at()
        step = left if due is None else min(left, max(due - world.clock.now(), timedelta(seconds=1)))
        world.clock.forward(seconds=step.total_seconds())
        await world.services.reaper.run()
        await world.quiet()


async def _check(world: World, limits: Limits) -> None:
    """What is bound keeps every limit, of everybody, of each session and of each project."""
    now = world.clock.now()
    for caller in CALLERS:
        own = world.services.treasury.limits_of(caller)
        bound = await world.inventory.exposure(caller.session, now, sorted(limits.projects))
        assert bound.live_vms <= own.max_concurrent_vms
        assert bound.creates_last_hour <= own.max_creates_per_hour
        _within(bound.spent_day_units + bound.reserved_units, own.max_daily_spend_units)
        _within(bound.session_units, own.max_session_spend_units)
        _within(bound.burn_units_per_hour, own.max_hourly_burn_units)
        for path, share in bound.shares.items():
            budget = limits.projects[path]
            _within(share.live_vms, budget.max_concurrent_vms)
            _within(share.day_units, budget.max_daily_spend_units)
            _within(share.burn_units_per_hour, budget.max_hourly_burn_units)
    for vm in await world.inventory.page(states=sorted(LEASED), limit=100):
        assert vm.expires_at - vm.created_at <= timedelta(seconds=limits.max_ttl_s)
        _within(vm.lease_version - 1, limits.max_extensions)
        reserved, spent = await world.money(vm)
        assert reserved >= vm.cost_units(vm.expires_at)
        assert spent == 0


def _within(amount: int, limit: int | None) -> None:
    assert amount >= 0
    assert limit is None or amount <= limit


@given(OWNER, st.dictionaries(st.sampled_from(PROJECTS[:3]), BUDGET), STEPS)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
async def test_no_sequence_of_calls_gets_past_a_limit(
    tmp_path_factory: Any,
    owner: dict[str, Any],
    projects: dict[str, SessionLimits],
    steps: list[tuple[str, Caller, dict[str, Any]]],
) -> None:
    """Whoever asks for whatever in whatever order; time and ends of leases in between."""
    folder: Path = tmp_path_factory.mktemp("limits")
    machine = Machine(folder)
    machine.limits = limits = replace(LIMITS, **owner, projects=projects, balance_guard_percent=100)
    async with machine.life() as world:
        toolbox = Toolbox(world.services)
        for what, caller, arguments in steps:
            if what == "pass":
                await _pass(world, **arguments)
            elif "item_hash" in arguments:
                await _call(toolbox, what, *await _of_a_live_one(world, caller, arguments))
            else:
                await _call(toolbox, what, caller, arguments)
            await _check(world, limits)


async def _of_a_live_one(
    world: World, caller: Caller, arguments: dict[str, Any]
) -> tuple[Caller, dict[str, Any]]:
    """Its own session asks, if there is one."""
    rows = [vm for vm in await world.rows() if vm.state in LEASED]
    if not rows:
        return caller, {**arguments, "item_hash": "none"}
    vm = rows[arguments["item_hash"] % len(rows)]
    own = next(caller for caller in CALLERS if caller.session == vm.session)
    return own, {**arguments, "item_hash": vm.item_hash}


async def _call(toolbox: Toolbox, what: str, caller: Caller, arguments: dict[str, Any]) -> None:
    """Once more with a yes if the first answer asks for one."""
    for _ in range(2):
        try:
            async with asyncio.timeout(30):
                answer = await toolbox.call(what, arguments, caller=caller)
        except Refusal as refusal:
            assert refusal.code not in ("refused", "store"), refusal.message
            return
        if not answer.get("requires_confirmation"):
            return
        arguments = {**arguments, "confirmed": True}
