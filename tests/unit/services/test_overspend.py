"""Many sessions at once against room for five: never one VM too many, never one unit over (issue 4, Shows 1).

`make test` runs one round of each; `make overspend` runs 200. A round is seeded: its number is its seed.
"""

import asyncio
import os
import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from aleph_agentd.domain.caller import Caller, Peer
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.limits import Limits
from aleph_agentd.domain.policy import reserve_units
from aleph_agentd.tools.toolbox import Toolbox
from support.world import LIMITS, Machine, World

ROUNDS = int(os.environ.get("OVERSPEND_ROUNDS", "1"))
CALLS, SESSIONS, ROOM = 64, 8, 5
HOURLY = 14_250
RESERVE = reserve_units(HOURLY, 3600)
SLACK = RESERVE - 1
"""More than enough for five, not enough for six."""
WIDE = replace(LIMITS, max_concurrent_vms=1000, max_creates_per_hour=100_000, balance_guard_percent=100)
BY: dict[str, dict[str, Any]] = {
    "count": {"max_concurrent_vms": ROOM},
    "daily budget": {"max_daily_spend_units": ROOM * RESERVE + SLACK},
    "session": {"max_session_spend_units": ROOM * RESERVE + SLACK},
    "burn": {"max_hourly_burn_units": ROOM * HOURLY + HOURLY - 1},
}
BY["together"] = {name: value for limit in BY.values() for name, value in limit.items()}
FAULTY = ("post", "status", "notify", "execution", "estimate", "erase")


def callers(limit: str) -> list[Caller]:
    """Eight sessions; against the limit of one session they are all the same one."""
    names = ["s0"] * SESSIONS if limit in ("session", "together") else [f"s{n}" for n in range(SESSIONS)]
    return [Caller(name, Peer(1000, 1), project="/home/you/web", client="pytest") for name in names]


def troubles(world: World, dice: random.Random) -> None:
    """Random latencies in every call, and faults in some."""

    async def dawdle(_: str) -> None:
        await asyncio.sleep(dice.choice([0, 0, 0.001, 0.003]))

    for method in FAULTY:
        world.network.before(method, dawdle)
        world.network.fail(method, dice.randrange(4), dice.choice(["before", "after"]))


@dataclass
class Replay:
    """The story of the money, commit by commit, as events and ledger tell it in the order of their numbers."""

    limits: Limits
    live: set[str] = field(default_factory=set)
    most_live: int = 0

    async def check(self, world: World) -> None:
        """Every prefix of the story keeps every limit."""
        events = await world.inventory.events(0, 100_000)
        for event in events:
            if event.kind == "intended":
                self.live.add(event.item_hash)
            elif event.kind in ("settled", "failed"):
                self.live.discard(event.item_hash)
            self.most_live = max(self.most_live, len(self.live))
        assert self.most_live <= self.limits.max_concurrent_vms
        if self.limits.max_hourly_burn_units is not None:
            assert self.most_live * HOURLY <= self.limits.max_hourly_burn_units
        bound = most = 0
        for movement in reversed(await world.inventory.ledger(100_000)):
            bound += movement.units
            most = max(most, bound)
        for limit in (self.limits.max_daily_spend_units, self.limits.max_session_spend_units):
            assert limit is None or most <= limit


async def all_at_once(world: World, limit: str, calls: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """Every call in a task of its own, dealt out to the sessions; answers and refusals."""
    toolbox, everybody = Toolbox(world.services), callers(limit)
    return await asyncio.gather(
        *(
            toolbox.call(tool, arguments, caller=everybody[n % SESSIONS], request_key=f"k{n}")
            for n, (tool, arguments) in enumerate(calls)
        ),
        return_exceptions=True,
    )


def creates(prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """Sixty-four VMs for an hour."""
    return [("aleph_create_vm", {"name": f"{prefix}-{n}", "ttl_hours": 1}) for n in range(CALLS)]


async def rest(world: World) -> None:
    """Time passes until every lease is over and every teardown done; nothing stays reserved."""
    world.network.heal()
    for _ in range(40):
        world.clock.forward(minutes=10)
        await world.services.reaper.run()
        await world.quiet()
    exposure = await world.inventory.exposure("s0", world.clock.now())
    assert (exposure.live_vms, exposure.reserved_units) == (0, 0)
    assert world.network.billed() == world.network.running() == []


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("limit", BY)
async def test_concurrent_creates_never_pass_a_limit(machine: Machine, limit: str, seed: int) -> None:
    """Random latencies and faults; who is refused is told by which rule."""
    limits = replace(WIDE, **BY[limit])
    async with machine.life(**vars(limits)) as world:
        troubles(world, random.Random(f"{limit}{seed}"))
        answers = await all_at_once(world, limit, creates("vm"))
        assert all(isinstance(answer, dict | Refusal) for answer in answers)
        made = [answer for answer in answers if isinstance(answer, dict)]
        assert len(made) <= ROOM
        assert len(world.network.billed()) <= ROOM
        await Replay(limits).check(world)
        await rest(world)


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("limit", ["daily budget", "session", "together"])
async def test_concurrent_extends_never_pass_a_limit(machine: Machine, limit: str, seed: int) -> None:
    """Sixty-four wishes for another hour of two VMs, and budget for three hours more."""
    most = 2 * RESERVE + 3 * HOURLY + HOURLY - 1
    limits = replace(WIDE, max_daily_spend_units=most)
    if limit != "daily budget":
        limits = replace(limits, max_session_spend_units=most)
    async with machine.life(**vars(limits)) as world:
        for name in ("one", "two"):
            await world.create(callers(limit)[0], name=name, ttl_hours=1)
        vms = await world.rows()
        troubles(world, random.Random(f"{limit}{seed}"))
        wishes = [
            ("aleph_extend_vm", {"item_hash": vms[n % 2].item_hash, "additional_hours": 1})
            for n in range(CALLS)
        ]
        answers = await all_at_once(world, limit, wishes)
        assert sum(isinstance(answer, dict) for answer in answers) <= 3
        assert sum(vm.lease_version - 1 for vm in await world.rows()) <= 3
        await Replay(limits).check(world)
        await rest(world)


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("limit", BY)
async def test_a_restart_in_the_middle_makes_no_room(machine: Machine, limit: str, seed: int) -> None:
    """Killed at a random moment; the next life counts what the last one has promised."""
    limits = replace(WIDE, **BY[limit])
    dice = random.Random(f"restart{limit}{seed}")
    async with machine.life(**vars(limits)) as world:
        troubles(world, dice)
        storm = asyncio.ensure_future(all_at_once(world, limit, creates("vm")))
        await asyncio.wait({storm}, timeout=dice.random() * 0.2)
        storm.cancel()
        await asyncio.gather(storm, return_exceptions=True)
    async with machine.life() as world:
        await world.services.reaper.recover()
        await world.services.provisioner.recover()
        await all_at_once(world, limit, creates("more"))
        assert len(world.network.billed()) <= ROOM
        await Replay(limits).check(world)
        await rest(world)
