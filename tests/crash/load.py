"""One daemon under load, killed at random moments: agents rent, extend and destroy, and leases end."""

import asyncio
import io
import random
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass

from aleph_agentd.domain.errors import Refusal
from crash.forked import Nursery
from crash.tenant import DEAD, Tenant
from crash.verdict import Verdict, judge
from support.devnet import DevnetProcess

AGENTS = 6
LIFE_S = (0.0, 1.5)
"""How long a life of the daemon lasts, its start included."""
LEASE_S = (3.0, 15.0)
PAUSE_S = (0.0, 2.0)
LIMITS = {"ALEPH_AGENT_SWEEP_INTERVAL_S": "10", "ALEPH_AGENT_HEALTH_INTERVAL_S": "3"}


@dataclass(frozen=True)
class Loaded:
    """What became of it."""

    seed: int
    kills: int
    vms: int
    verdict: Verdict
    log: str = ""


async def under_load(net: DevnetProcess, nursery: Nursery, kills: int, seed: int) -> Loaded:
    """Kill so often, let everything come to rest, and ask devnet."""
    tenant, dice = Tenant(net, nursery, environment=LIMITS), random.Random(seed)
    stop = asyncio.Event()
    try:
        agents = [
            asyncio.ensure_future(_agent(tenant, number, random.Random(dice.random()), stop))
            for number in range(AGENTS)
        ]
        while tenant.shots < kills:
            await asyncio.sleep(dice.uniform(*LIFE_S))
            tenant.shoot()
            await tenant.alive() if dice.random() < 0.5 else None
        stop.set()
        await asyncio.gather(*agents)
        await tenant.rest()
        verdict = judge(tenant)
        vms = sum(row["broadcast_at"] is not None for row in tenant.rows(*DEAD))
        return Loaded(seed, tenant.shots, vms, verdict, "" if verdict.ok else tenant.daemon.log())
    finally:
        with redirect_stderr(io.StringIO()):
            tenant.daemon.close()


async def _agent(tenant: Tenant, number: int, dice: random.Random, stop: asyncio.Event) -> None:
    """Rents one VM after another; some it extends, some it destroys, the others end with their lease."""
    turn = 0
    while not stop.is_set():
        turn += 1
        name, hours = f"agent-{number}-{turn}", dice.uniform(*LEASE_S) / 3600
        with suppress(Refusal):
            vm = await tenant.call("aleph_create_vm", name=name, ttl_hours=hours)
            await asyncio.sleep(dice.uniform(*PAUSE_S))
            if dice.random() < 0.5:
                hours = dice.uniform(*LEASE_S) / 3600
                await tenant.call("aleph_extend_vm", item_hash=vm["item_hash"], additional_hours=hours)
            if dice.random() < 0.5:
                await tenant.call("aleph_destroy_vm", item_hash=vm["item_hash"])
        await asyncio.sleep(dice.uniform(*PAUSE_S))
