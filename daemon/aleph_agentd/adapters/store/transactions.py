"""The one thread that talks to the database, and the one place where transactions begin and end."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from typing import Any, Self, TypeVar

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError

from . import audit
from .backlog import Backlog
from .engine import WRITES, open_engine, trouble
from .migrations import migrate
from .patience import Patience

T = TypeVar("T")


class Transactions:
    """A database behind a thread. Open it with `await SqlInventory.open(url)`."""

    def __init__(self, engine: Engine, worker: ThreadPoolExecutor) -> None:
        self._engine = engine
        self._writer = engine.execution_options(**{WRITES: True})
        self._worker = worker
        self._patience = Patience(engine)
        self._backlog = Backlog()
        self._own = copy_context()
        self.version = 0
        """Grows with each committed write: what was read at one version holds while it lasts."""
        self.on_change: Callable[[], None] | None = None
        """Called in the event loop after each committed write."""
        self.trouble = ""
        """Why the last write failed; empty when it did not."""

    @classmethod
    async def open(cls, url: URL | str, *, alone: bool = False) -> Self:
        """A migrated, sound database; `alone`: for this process only, where it is a server's. Raises StoreTrouble."""
        worker = ThreadPoolExecutor(1, "inventory")
        try:
            engine = await asyncio.get_running_loop().run_in_executor(worker, _open, url, alone)
        except BaseException:
            worker.shutdown(wait=False)
            raise
        return cls(engine, worker)

    async def close(self) -> None:
        """Finish what was begun and let go of the database."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._engine.dispose)
        self._worker.shutdown(wait=False)

    async def _transact(
        self, work: Callable[[Connection], T], *, writes: bool = True, quiet: bool = False
    ) -> T:
        """Run `work` as one transaction in the thread, on behalf of the caller; what waits to be audited goes first.

        A cancelled caller leaves it to happen completely or, if it has not begun, not at all. `quiet`: it
        changes nothing that anybody reads.
        """
        loop, run = asyncio.get_running_loop(), copy_context().run
        if writes:
            self._backlog.hand_over()
        tell = None if quiet else loop
        return await loop.run_in_executor(self._worker, run, self._run, work, writes, tell)

    async def with_driver(self, work: Callable[[Any], T]) -> T:
        """Run `work` in the thread with the driver's own connection, in no transaction of ours."""

        def run() -> T:
            with self._engine.connect() as connection:
                return work(connection.connection.dbapi_connection)

        return await asyncio.get_running_loop().run_in_executor(self._worker, run)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._transact(work, writes=False)

    def _run(
        self, work: Callable[[Connection], T], writes: bool, tell: asyncio.AbstractEventLoop | None
    ) -> T:
        committing = False
        try:
            with (
                self._patience.limited(),
                self._backlog.handed(writes) as deeds,
                (self._writer if writes else self._engine).begin() as connection,
            ):
                audit.append(connection, deeds)
                result = work(connection)
                committing = writes
        except (DBAPIError, sqlite3.Error) as error:
            told = trouble(error, self._engine, committing=committing)
            self.trouble = str(told) if writes else self.trouble
            raise told  # noqa: B904 - it knows what may be shown of its cause
        self.trouble = "" if writes else self.trouble
        if writes and tell is not None and not tell.is_closed():
            # From here, not after the await: the caller may have been cancelled meanwhile. And for nobody:
            # what follows from a change (an alarm, say) is not done on behalf of who made it.
            tell.call_soon_threadsafe(self._changed, context=self._own)
        return result

    def _changed(self) -> None:
        self.version += 1
        if self.on_change:
            self.on_change()


def _open(url: URL | str, alone: bool) -> Engine:
    with ExitStack() as undo:
        engine = open_engine(url, alone=alone)
        undo.callback(engine.dispose)
        try:
            migrate(engine)
        except (DBAPIError, sqlite3.Error) as error:
            raise trouble(error, engine)  # noqa: B904 - it knows what may be shown of its cause
        undo.pop_all()
    return engine
