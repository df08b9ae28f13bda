"""Keeps the audit log: notes what was done, sees that it is written, anchors its head outside, and checks it."""

import asyncio
import logging
from collections.abc import Iterable
from contextvars import copy_context

from ..domain.acting import acting
from ..domain.audit import (
    ANCHOR_EVERY,
    Check,
    Entry,
    Link,
    Verdict,
    anchor_line,
    deed,
    not_as_anchored,
    tail_was_cut,
)
from ..domain.clock import Clock
from ..ports import Anchors, AuditLog, StoreTrouble

log = logging.getLogger(__name__)

WRITE_S = 1.0
"""How long what has no transaction of its own waits at most for one."""
_PAGE = 200
"""Entries that are checked in one turn of the loop."""


class Auditor:
    """Nothing that it does can fail what is audited."""

    def __init__(self, inventory: AuditLog, anchors: Anchors, clock: Clock) -> None:
        self._inventory, self._anchors, self._clock = inventory, anchors, clock
        self._own = copy_context()
        """Whose call it is that leaves something to write: the writing is the daemon's own doing."""
        self._due: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()
        self._anchored = 0
        self._writing: asyncio.Task[None] | None = None
        self._trouble = self._doubt = ""

    def note(self, kind: str, text: str, item_hash: str = "", *, countable: bool = False) -> None:
        """Remember that this was done, on behalf of whoever it is done for. Never waits, never raises.

        `countable`: it changed nothing, so that many of its kind may become one entry.
        """
        done = deed(self._clock.now(), kind, text, acting(), item_hash)
        self._inventory.audit(done, countable=countable)
        self.changed()

    def changed(self) -> None:
        """There may be something to write, or to anchor: do both soon."""
        if self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_later(WRITE_S, self._begin, context=self._own)

    def _begin(self) -> None:
        self._due = None
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self.write(), name="audit")
        else:
            self.changed()

    async def start(self) -> None:
        """Compare the log with the newest anchor, before anything is added to it."""
        try:
            anchors, head = await self._anchors.all(), await self._inventory.audit_head()
            newest = max(anchors, key=lambda link: link.n, default=Link(0, ""))
            self._anchored = newest.n if newest.n <= head.n else head.n
            self._doubt = await self._compare(newest, head)
        except (OSError, StoreTrouble) as trouble:
            self._failed(f"it could not be compared with its anchors: {trouble}")
        if self._doubt:
            log.error("audit: %s", self._doubt)
            self.note("audit", self._doubt)

    async def _compare(self, anchor: Link, head: Link) -> str:
        if anchor.n > head.n:
            return tail_was_cut(head, anchor)
        found = await self._inventory.audit_page(anchor.n - 1, 1) if anchor.n else []
        return not_as_anchored(anchor) if found and found[0].link != anchor else ""

    async def write(self) -> None:
        """Write what waits, and anchor every hundredth entry. What fails is tried again at the next change."""
        async with self._turn:
            try:
                await self._inventory.write_audit()
                for mark in await self._inventory.audit_marks(self._anchored, ANCHOR_EVERY):
                    await self._anchor(mark)
                self._trouble = ""
            except (OSError, StoreTrouble) as trouble:
                self._failed(str(trouble))

    async def stop(self) -> None:
        """The last thing of all: write what is left, and anchor the head."""
        if self._due is not None:
            self._due.cancel()
        if self._writing is not None:
            await self._writing
        await self.write()
        try:
            head = await self._inventory.audit_head()
            if head.n != self._anchored:
                await self._anchor(head)
        except (OSError, StoreTrouble) as trouble:
            self._failed(str(trouble))

    async def _anchor(self, link: Link) -> None:
        # Into the journal first: whoever could change the log could change a file beside it as well.
        log.info("%s", anchor_line(link))
        self._anchored = link.n
        await self._anchors.add(link, self._clock.now())

    def _failed(self, why: str) -> None:
        if why != self._trouble:
            log.error("the audit log could not be kept: %s", why)
        self._trouble = why

    def alerts(self) -> list[str]:
        """What is wrong with the log, in words."""
        doubt = f"The audit log is not what it was: {self._doubt}; see aleph-agentctl audit --verify."
        kept = f"The audit log could not be kept: {self._trouble}."
        return [doubt] * bool(self._doubt) + [kept] * bool(self._trouble)

    # ------------------------------------------------------------------ reading

    async def page(self, after: int | None, limit: int) -> list[Entry]:
        """Entries behind this number, oldest first; without it, the newest ones."""
        await self.write()
        if after is None:
            after = max(0, (await self._inventory.audit_head()).n - limit)
        return await self._inventory.audit_page(after, limit)

    async def verify(self, anchors: Iterable[Link] = ()) -> Verdict:
        """Follow the whole chain, and compare it with the anchors that are kept and these. Raises OSError."""
        await self.write()
        known = [*await self._anchors.all(), *anchors]
        while True:
            base = await self._inventory.audit_base()
            check = await self._follow(Check(base, known))
            if base == await self._inventory.audit_base():
                return check.verdict()
            # It was rotated meanwhile: entries that were not read yet may be gone, and rightly so.

    async def _follow(self, check: Check) -> Check:
        sound = True
        while sound and (entries := await self._inventory.audit_page(check.head.n, _PAGE)):
            sound = check.add(entries)
        return check
