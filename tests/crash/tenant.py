"""Somebody who rents VMs from a daemon that dies: asks again as a shim does, starts the daemon as systemd does."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import DaemonUnreachable, HungUp, NoAnswer
from crash.forked import MortalDaemon, Nursery
from crash.fuse import NOBODY
from support.daemon import NotReady
from support.devnet import DevnetProcess

LIMITS = {
    "ALEPH_AGENT_MAX_CONCURRENT_VMS": "50",
    "ALEPH_AGENT_MAX_CREATES_PER_HOUR": "1000",
    "ALEPH_AGENT_MAX_DAILY_SPEND": "off",
    "ALEPH_AGENT_COST_THRESHOLD": "100000 cr",
    "ALEPH_AGENT_ORPHAN_GRACE_S": "1",
    "ALEPH_AGENT_HEALTH_INTERVAL_S": "off",
}
LONG = 1.0
"""Hours: a lease that does not end by itself in a test."""
PATIENCE_S = 180.0
"""What never comes has an end, too; no time limit decides on a machine that is busy."""
POLL_S = 0.1
IMPATIENT_S = 5.0
DEAD = ("gone", "failed")
LEASED = ("intended", "provisioning", "running")
NOT_YET = "inventory_restored"
"""The code of a refusal that ends by itself, with the first sweep."""
_MINUTE = 60_000_000


class Tenant:
    """One daemon, one account, one user. `point`: where the daemon dies during `act`; None: nowhere."""

    def __init__(
        self,
        net: DevnetProcess,
        nursery: Nursery,
        point: int | None = None,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        self.net = net
        self.daemon = MortalDaemon(net, nursery, {**LIMITS, **(environment or {})})
        self.fuse, self._point = self.daemon.fuse, point
        self.shots = 0
        """How often it was killed from outside, at any moment."""
        self.passed: frozenset[int] = frozenset()
        self.removed: dict[str, dict[str, Any]] = {}
        """By hash: closed rows that are to go, as they were; the verdict wants their instants."""
        self._turn, self._keys = asyncio.Lock(), count()

    @property
    def has_died(self) -> bool:
        """Whether the daemon has died at its point."""
        return self.fuse.blown != NOBODY

    @property
    def pid(self) -> int:
        """The process of this life of the daemon."""
        return self.daemon.pid

    @asynccontextmanager
    async def act(self) -> AsyncIterator[None]:
        """What is done in here is what the daemon dies in."""
        if not self.has_died:
            self.fuse.arm(NOBODY if self._point is None else self._point)
        yield
        self.passed |= self.fuse.passed()
        self.fuse.disarm()

    # ------------------------------------------------------------------ the daemon's life

    async def alive(self) -> None:
        """Start the daemon if it does not run, also if it dies while it starts."""
        async with self._turn:
            while not self.daemon.alive:
                doomed, shots = self.fuse.armed != NOBODY, self.shots
                try:
                    await asyncio.to_thread(self.daemon.start)
                except NotReady:
                    if shots == self.shots and not (doomed and self.has_died):
                        raise

    async def kill(self) -> None:
        """Between two lives."""
        await asyncio.to_thread(self.daemon.kill)

    def shoot(self) -> bool:
        """SIGKILL, whatever it does, also while it starts. False: it was dead."""
        if not self.daemon.alive:
            return False
        self.shots += 1
        self.daemon.send(signal.SIGKILL)
        return True

    async def restart(self) -> None:
        """Kill it, and start it again."""
        await self.kill()
        await self.alive()

    async def ages(self, minutes: float, *columns: str) -> None:
        """Time passes while the daemon does not run: instants of its rows move into the past."""
        await self.kill()
        for column in columns:
            self.sql(
                f"UPDATE vms SET {column} = {column} - ?, due_at = 0 WHERE {column} IS NOT NULL",
                int(minutes * _MINUTE),
            )
        await self.alive()

    # ------------------------------------------------------------------ asking

    async def call(self, tool: str, request_key: str = "", **arguments: Any) -> dict[str, Any]:
        """Call a tool; again, under the same request key, when the daemon died meanwhile."""
        key = request_key or f"{self.daemon.folder.name}-{next(self._keys)}"
        return await self._ask(lambda: self.daemon.call(tool, arguments, key))

    async def control(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of control.sock, as often as it takes."""
        return await self._ask(lambda: self.daemon.control(method, params))

    async def create(self, name: str = "box", hours: float = LONG, **more: Any) -> dict[str, Any] | None:
        """A VM; None if the daemon died over it, and said so afterwards."""
        for _ in range(int(IMPATIENT_S / POLL_S)):
            try:
                return await self.call("aleph_create_vm", name=name, ttl_hours=hours, **more)
            except Refusal as why:
                if why.code != NOT_YET and not self.has_died:
                    raise
                if why.code != NOT_YET:
                    return None
            await asyncio.sleep(POLL_S)
        raise AssertionError(f"a create is refused again and again: {NOT_YET}")

    async def destroy(self) -> None:
        """End all live VMs; the owner may, whoever rented them."""
        for row in self.rows(*LEASED):
            with suppress(Refusal):  # its lease may have ended meanwhile
                arguments = {"item_hash": row["item_hash"]}
                await self.control("tools.call", name="aleph_destroy_vm", arguments=arguments)

    async def until(self, look: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> Any:
        """The first true result of `look`; the daemon is started whenever it is dead."""
        if found := await self.soon(look, within_s):
            return found
        raise AssertionError(f"not within {within_s:g} s: {what}")

    async def soon(self, look: Callable[[], Any], within_s: float = IMPATIENT_S) -> Any:
        """The same, or what is not true when the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while True:
            await self.alive()
            # In a thread: others work in this loop, too.
            found = await asyncio.to_thread(look)
            if found or loop.time() > deadline:
                return found
            await asyncio.sleep(POLL_S)

    async def _ask(self, ask: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        while True:
            await self.alive()
            try:
                return await ask()
            except (HungUp, NoAnswer, DaemonUnreachable, OSError):
                if not await self._dies():
                    raise

    async def _dies(self) -> bool:
        """Whether it is dead: its sockets close a moment before it is."""
        for _ in range(20):
            if not self.daemon.alive:
                return True
            await asyncio.sleep(0.05)
        return False

    # ------------------------------------------------------------------ what it wrote

    def rows(self, *states: str) -> list[dict[str, Any]]:
        """The VMs of the inventory, or those in some states, as they are in the file."""
        rows = self.read("SELECT * FROM vms")
        return [row for row in rows if not states or row["state"] in states]

    def row(self, name: str = "box") -> dict[str, Any] | None:
        """The newest VM of a name."""
        named = [row for row in self.rows() if row["name"] == name]
        return max(named, key=lambda row: row["created_at"], default=None)

    def is_(self, state: str, name: str = "box") -> bool:
        """Whether the newest VM of a name is in a state."""
        row = self.row(name)
        return row is not None and row["state"] == state

    def remember(self) -> None:
        """The closed rows are to be removed, rightly: all else that is missing at the end is lost."""
        self.removed |= {row["item_hash"]: row for row in self.rows(*DEAD)}

    def read(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of a query; none while there is no database."""
        path: Path = self.daemon.database
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query, values)]

    def sql(self, statement: str, *values: Any) -> None:
        """Change the file of a dead daemon."""
        assert not self.daemon.alive
        with closing(sqlite3.connect(self.daemon.database, timeout=10)) as database, database:
            database.execute(statement, values)

    # ------------------------------------------------------------------ the end

    async def rest(self) -> bool:
        """End all that lives, then wait until nothing is left to do. False: that did not come about."""
        self.net.clear_faults()
        loop = asyncio.get_running_loop()
        deadline, patience = loop.time() + PATIENCE_S, loop.time() + IMPATIENT_S
        await self.alive()
        while not await asyncio.to_thread(self.settled):
            if loop.time() > deadline:
                return False
            await self.destroy()
            if loop.time() > patience:
                # What was postponed is due after a start; what waits for proof has waited.
                await self.ages(31, "unknown_since")
                patience = loop.time() + IMPATIENT_S
            await asyncio.sleep(POLL_S)
        return True

    def settled(self) -> bool:
        """Whether every row is closed, and the network has nothing of ours."""
        return all(row["state"] in DEAD for row in self.rows()) and self.daemon.leaves_nothing()
