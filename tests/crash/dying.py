"""The real daemon, with an end at every fault point: its ports and its store are wrapped, nothing else.

Production knows nothing of this. `install` is called in a process that is about to become a daemon.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import wraps
from types import FrameType
from typing import Any

from sqlalchemy import Connection, Engine

from aleph_agentd import app, opening, reap_escrow, timetable
from aleph_agentd.adapters.aleph.keyless import open_keyless
from aleph_agentd.adapters.aleph.network import Network, open_network
from aleph_agentd.adapters.store import SqlInventory
from aleph_agentd.ports import Messages
from crash.fuse import Fuse
from crash.points import AFTER, BEFORE, PASS_ON, Point, Site, network_calls, points, site_at, writes

HASTE = "CRASH_HASTE"
"""In the environment of a daemon: its jobs of minutes run every second."""
SLOW_JOBS = ("APPROVALS_S", "IDLE_S", "LOOKOUT_S", "PORTS_S", "REPRICE_S", "RUNWAY_S", "SAVE_S")

_writing: ContextVar[Site | None] = ContextVar("writing", default=None)


class Points:
    """Passes points, and dies at the one that the fuse names."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        self._numbers = {point: number for number, point in enumerate(points())}
        self._sites: dict[tuple[str, int, str], Site | None] = {}

    def site(self, caller: FrameType, method: str) -> Site | None:
        """Where a call comes from."""
        module, line = str(caller.f_globals["__name__"]), caller.f_lineno
        key = module, line, method
        if key not in self._sites:
            self._sites[key] = site_at(*key)
            if self._sites[key] is None:
                self._fuse.complain(f"{module}:{line}: {method}")
        return self._sites[key]

    def passed(self, site: Site | None, side: str) -> None:
        """Go on, or die."""
        if site is not None and self._fuse.passes(self._numbers[Point(site, side)]):
            os.kill(os.getpid(), signal.SIGKILL)

    async def around(self, site: Site | None, call: Awaitable[Any]) -> Any:
        """A call to the network, with a point on either side of it."""
        self.passed(site, BEFORE)
        answer = await call
        self.passed(site, AFTER)
        return answer


class Watched:
    """A port of the network whose calls pass points."""

    def __init__(self, port: Any, calls: frozenset[str], around: Points) -> None:
        self._port, self._calls, self._points = port, calls, around

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if name not in self._calls:
            return value

        def call(*arguments: Any, **named: Any) -> Awaitable[Any]:
            site = self._points.site(_asking(sys._getframe(1)), name)
            return self._points.around(site, value(*arguments, **named))

        return call


def _asking(frame: FrameType) -> FrameType:
    """Whoever asks the network; the audit log's witness only passes it on."""
    while frame.f_globals["__name__"] in PASS_ON and frame.f_back is not None:
        frame = frame.f_back
    return frame


def watched_inventory(around: Points) -> type[SqlInventory]:
    """The store, with a point before BEGIN and one after COMMIT of each of its writes."""

    class Work:
        """What a transaction does, and for whom."""

        def __init__(self, work: Callable[[Any], Any], site: Site | None) -> None:
            self._work, self.site = work, site

        def __call__(self, connection: Any) -> Any:
            return self._work(connection)

    class Store(SqlInventory):
        """Dies in the thread that writes."""

        async def _transact(self, work: Callable[[Any], Any], **how: Any) -> Any:
            return await super()._transact(Work(work, _writing.get()), **how)

        def _run(self, work: Any, writes: bool, loop: Any) -> Any:
            if not writes:
                return super()._run(work, writes, loop)
            around.passed(work.site, BEFORE)
            result = super()._run(work, writes, loop)
            around.passed(work.site, AFTER)
            return result

    for name in writes():
        setattr(Store, name, _told(getattr(SqlInventory, name), around))
    return Store


def _told(method: Callable[..., Awaitable[Any]], around: Points) -> Callable[..., Awaitable[Any]]:
    """A method that says who called it to the transaction that it runs."""

    @wraps(method)
    def told(self: SqlInventory, *arguments: Any, **named: Any) -> Awaitable[Any]:
        return under(around.site(sys._getframe(1), method.__name__), method(self, *arguments, **named))

    async def under(site: Site | None, call: Awaitable[Any]) -> Any:
        token = _writing.set(site)
        try:
            return await call
        finally:
            _writing.reset(token)

    return told


def watched_begin(around: Points) -> Callable[[Engine], Any]:
    """`Engine.begin`, with points for those transactions that the store begins while it is being opened."""
    begin = Engine.begin

    @contextmanager
    def watched(engine: Engine, site: Site | None) -> Iterator[Connection]:
        around.passed(site, BEFORE)
        with begin(engine) as connection:
            yield connection
        around.passed(site, AFTER)

    def told(engine: Engine) -> Any:
        caller = sys._getframe(1)
        return watched(engine, site_at(str(caller.f_globals["__name__"]), caller.f_lineno, "begin"))

    return told


def install(fuse: Fuse) -> None:
    """From here on, a daemon or a reap-escrow in this process passes points."""
    around, calls = Points(fuse), network_calls()

    @asynccontextmanager
    async def network(settings: Any) -> AsyncIterator[Network]:
        async with open_network(settings) as opened:
            ports = {name: Watched(getattr(opened, name), calls[name], around) for name in calls}
            yield replace(opened, **ports)

    @asynccontextmanager
    async def keyless() -> AsyncIterator[Callable[[Sequence[str], bool], Messages]]:
        async with open_keyless() as messages:
            yield lambda hosts, local: Watched(messages(hosts, local), calls["messages"], around)  # type: ignore[return-value]

    for job in SLOW_JOBS if HASTE in os.environ else ():
        assert hasattr(timetable, job), f"there is no {job} any more"
        setattr(timetable, job, 1)
    Engine.begin = watched_begin(around)  # type: ignore[method-assign]
    app.open_network = network
    opening.SqlInventory = watched_inventory(around)  # type: ignore[misc]
    reap_escrow.open_keyless = keyless
