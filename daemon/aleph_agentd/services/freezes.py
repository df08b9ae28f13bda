"""Stopping creates and extends: a human's button, an agent's for its own project, and the daemon's own alarm."""

import asyncio
import logging

from ..domain import freezes
from ..domain.caller import Caller
from ..domain.clock import Clock
from ..domain.counting import counted
from ..domain.errors import Unavailable
from ..domain.freezes import Freeze, FreezeKind, scope_of
from ..ports import Inventory, StoreTrouble

log = logging.getLogger(__name__)

OWNER, DAEMON = "the owner", "aleph-agentd"
UNWRITTEN = -1
"""The number of a panic that could not be written down: it holds until the daemon ends."""
_ALERTS = 5


class Freezes:
    """What is frozen, in memory, so that it holds at once; and in the inventory, so that it outlives us."""

    def __init__(self, inventory: Inventory, clock: Clock) -> None:
        self._inventory, self._clock = inventory, clock
        self._standing: tuple[Freeze, ...] | None = None
        self._turn = asyncio.Lock()  # what is lifted must not be written down again

    async def load(self) -> None:
        """Read what an earlier life of the daemon was told."""
        written = await self._inventory.freezes()
        # Said while this was read, where nothing can be written: it stands all the same.
        self._standing = (*written, *(freeze for freeze in self._standing or () if freeze.n == UNWRITTEN))

    @property
    def standing(self) -> tuple[Freeze, ...]:
        """What is frozen now, oldest first. Raises Unavailable before it was read: unknown is frozen."""
        if self._standing is None:
            raise Unavailable(
                "aleph-agentd has not read yet what is frozen.", "Send the same call again in a few seconds."
            )
        return self._standing

    def check(self, what: str, caller: Caller) -> None:
        """Raises Denied, code `frozen`; `what` is create or extend."""
        self.check_scope(what, scope_of(caller.project, caller.session))

    def check_scope(self, what: str, scope: str) -> None:
        """The same for the project of a row."""
        freezes.check(self.standing, what, scope)

    async def freeze(self, reason: str, by: str = DAEMON, scope: str = "") -> Freeze:
        """Stop everybody, or the creates of one project; the same reason twice is one freeze."""
        return await self._add(FreezeKind.FREEZE, scope, by, reason)

    async def panic(self, by: str) -> Freeze:
        """Stop everybody, even where nothing can be written; that every VM ends is somebody else's work."""
        reason = "panic: every VM is to be destroyed"
        try:
            return await self._add(FreezeKind.PANIC, "", by, reason)
        except StoreTrouble as trouble:
            log.error("a panic, unwritten: %s", trouble)
            at = self._clock.now()
            return self._hold(
                Freeze(n=UNWRITTEN, at=at, kind=FreezeKind.PANIC, scope="", by=by, reason=reason)
            )

    async def write_down(self) -> None:
        """What could not be written when it was said. Raises StoreTrouble while that is so."""
        async with self._turn:
            await self._write_down()

    async def _write_down(self) -> None:
        for unwritten in [freeze for freeze in self.standing if freeze.n == UNWRITTEN]:
            await self._add(unwritten.kind, unwritten.scope, unwritten.by, unwritten.reason)
            self._standing = tuple(freeze for freeze in self.standing if freeze is not unwritten)

    async def lift(self, by: str, scope: str | None = None) -> int:
        """Lift everything, or what is frozen for one scope; how many."""
        async with self._turn:
            await self._write_down()
            numbers = [freeze.n for freeze in self.standing if scope in (None, freeze.scope)]
            count = await self._inventory.lift(numbers, by, self._clock.now())
            await self.load()
            return count

    def panics(self) -> bool:
        """Whether a panic stands."""
        return any(freeze.kind is FreezeKind.PANIC for freeze in self.standing)

    def alerts(self) -> list[str]:
        """What is frozen, in words."""
        standing = self._standing or ()
        more = len(standing) - _ALERTS
        told = [
            f"{freeze.words}. The owner lifts it: aleph-agentctl unfreeze" for freeze in standing[:_ALERTS]
        ]
        return [*told, *([f"And {counted(more, 'more freeze')}."] if more > 0 else [])]

    async def _add(self, kind: FreezeKind, scope: str, by: str, reason: str) -> Freeze:
        return self._hold(await self._inventory.freeze(kind, scope, by, reason, self._clock.now()))

    def _hold(self, made: Freeze) -> Freeze:
        known = self._standing or ()
        if made.n not in {freeze.n for freeze in known}:
            log.warning("%s", made.words)
            self._standing = (*known, made)
        return made
