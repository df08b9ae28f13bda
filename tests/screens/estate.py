"""A daemon with something to see: three projects, live and ended VMs, a request that waits, denials, a past."""

import contextlib
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aleph_agentd.adapters.store.types import microseconds
from aleph_agentd.domain.errors import Refusal
from support.agent import Agent, session
from support.daemon import DaemonProcess, eventually

ENVIRONMENT = {
    "ALEPH_AGENT_MAX_CONCURRENT_VMS": "8",
    "ALEPH_AGENT_MAX_DAILY_SPEND": "600 cr",
    "ALEPH_AGENT_HUMAN_APPROVAL_THRESHOLD": "100 cr",
    "ALEPH_AGENT_COST_THRESHOLD": "400 cr",
    "ALEPH_AGENT_MAX_CREATES_PER_HOUR": "100",
    "ALEPH_AGENT_BALANCE_GUARD_PERCENT": "50",
}
PROJECTS = {
    "/home/you/web": (["web-preview", "api-staging"], ["build-142", "build-143", "e2e-chrome", "build-144"]),
    "/home/you/ml": (["train-small"], ["notebook", "eval-7b", "tokenize", "train-tiny"]),
    "/home/you/infra": (["dns-probe"], ["migrate-db", "load-test"]),
}
_SIZES = (1, 1, 2, 4)


async def furnish(daemon: DaemonProcess) -> None:
    """Let three agents work; afterwards the daemon is restarted with a past of a week."""
    dice = random.Random(6)
    for project, (living, ended) in PROJECTS.items():
        folder = daemon.home / Path(project).name
        folder.mkdir()
        async with session(daemon, folder, environment={"CLAUDE_PROJECT_DIR": project}) as agent:
            for name in ended:
                await _create(agent, name, dice, hours=2)
                await agent.call("aleph_destroy_vm", item_hash=name)
            for name in living:
                await _create(agent, name, dice, hours=dice.choice([0.3, 2, 5, 9]))
            with contextlib.suppress(AssertionError, Refusal):
                await agent.refusal("aleph_create_vm", {"name": "forever", "ttl_hours": 400})
            if project.endswith("ml"):
                await agent.call("aleph_create_vm", name="train-large", compute_units=12, ttl_hours=20)
    await eventually(lambda: _all_gone(daemon), "what was destroyed to be gone", 90)
    daemon.kill()
    _age(daemon.database, dice)
    daemon.start()


async def _create(agent: Agent, name: str, dice: random.Random, hours: float) -> None:
    await agent.call("aleph_create_vm", name=name, compute_units=dice.choice(_SIZES), ttl_hours=hours)


async def _all_gone(daemon: DaemonProcess) -> bool:
    return not [row for row in await daemon.rows() if row["status"] == "destroying"]


def _age(database: Path, dice: random.Random) -> None:
    """Move what has ended into the week before, with hours of life and their cost."""
    now = datetime.now(UTC)
    with closing(sqlite3.connect(database)) as db, db:
        rows = db.execute("SELECT item_hash, rate FROM vms WHERE state='gone'").fetchall()
        for item_hash, rate in rows:
            began = now - timedelta(hours=dice.uniform(20, 160))
            end = began + timedelta(hours=dice.uniform(1, 14))
            times = (*[microseconds(began)] * 2, *[microseconds(end)] * 5, item_hash)
            db.execute(
                "UPDATE vms SET created_at=?, broadcast_at=?, forgotten_at=?, ended_at=?, verified_at=?,"
                " erased_at=?, expires_at=? WHERE item_hash=?",
                times,
            )
            units = round(float(rate) * (end - began).total_seconds())
            db.execute("UPDATE ledger SET at=? WHERE item_hash=?", (microseconds(end), item_hash))
            db.execute("UPDATE ledger SET units=? WHERE item_hash=? AND account='spent'", (units, item_hash))
        young = now - timedelta(hours=1, minutes=25)
        db.execute(
            "UPDATE vms SET created_at=?, broadcast_at=? WHERE state='running'", (microseconds(young),) * 2
        )
