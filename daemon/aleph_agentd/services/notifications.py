"""Tells the owner's webhook what happens, and waits for nobody: nothing else of the daemon waits for it.

It follows the events of the inventory from a task of its own. What is to be told is bounded: a few words per cause
while its interval runs, and a short queue behind a notifier that does not answer; what falls out of it is counted.
It is kept in memory only: what happens while the daemon is down is in `aleph-agentctl events`.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..domain.clock import Clock, iso
from ..domain.model import Event
from ..domain.notices import TEST, Notice, Pace, notice_of
from ..ports import Inventory, Notifier, NotTold, StoreTrouble

log = logging.getLogger(__name__)

EVERY_S = 2.0
TELL_S = 15.0
"""Whatever a notifier does, it gets no more time than this for one notice."""
MOST_TRIES = 8
QUEUE = 50
_EVENTS = 500
_FIRST_S, _LONGEST_S = 5, 600


@dataclass
class Letter:
    """A notice on its way."""

    notice: Notice
    tries: int = 0


class Notifications:
    """Contract: `run` in a task that is cancelled at the end."""

    def __init__(self, inventory: Inventory, notifier: Notifier | None, clock: Clock) -> None:
        self._inventory, self._notifier, self._clock = inventory, notifier, clock
        self._pace, self._queue = Pace(), deque[Letter]()
        self._seen: int | None = None
        self._version = -1
        self._again_at: datetime | None = None
        self._told = self._dropped = 0
        self._trouble = ""

    async def run(self) -> None:
        """Until cancelled; at once over when the owner has no webhook."""
        while self._notifier is not None:
            try:
                await self.once()
            except StoreTrouble as trouble:
                log.warning("events cannot be read, and are told later: %s", trouble)
            await asyncio.sleep(EVERY_S)

    async def once(self) -> None:
        """One look: what is new is queued, then the queue goes out as far as it does."""
        await self._gather()
        for notice in self._pace.due(self._clock.now()):
            self._queue.append(Letter(notice))
        while len(self._queue) > QUEUE:
            self._drop(self._queue.popleft())
        while self._queue and (self._again_at is None or self._clock.now() >= self._again_at):
            if not await self._deliver(self._queue[0]):
                return
            self._queue.popleft()

    async def _gather(self) -> None:
        if self._seen is None:
            self._seen = await self._inventory.last_event_id()
        if self._version == self._inventory.version:
            return
        version = self._inventory.version
        while events := await self._inventory.events(self._seen, _EVENTS):
            rows = await self._inventory.known([event.item_hash for event in events if event.item_hash])
            for event in events:
                vm = rows.get(event.item_hash)
                if (notice := notice_of(_told_as(event, vm.name if vm else ""), event.at)) is not None:
                    self._pace.add(notice)
                self._seen = event.id
        self._version = version  # not before: what could not be read is read at the next look

    async def _deliver(self, letter: Letter) -> bool:
        """Whether it is done with, told or given up."""
        assert self._notifier is not None
        try:
            async with asyncio.timeout(TELL_S):
                await self._notifier.tell(letter.notice)
        except (NotTold, TimeoutError) as trouble:
            self._trouble = str(trouble) or "it does not answer"
        else:
            self._told, self._trouble, self._again_at = self._told + 1, "", None
            return True
        letter.tries += 1
        if letter.tries >= MOST_TRIES:
            self._drop(letter)
            return True
        wait = min(_LONGEST_S, _FIRST_S * 2 ** (letter.tries - 1))
        self._again_at = self._clock.now() + timedelta(seconds=wait)
        log.info("the webhook was not told (try %d): %s", letter.tries, self._trouble)
        return False

    def _drop(self, letter: Letter) -> None:
        self._dropped += letter.notice.count
        log.warning("never told: %s, %s", letter.notice.cause, self._trouble or "too much waits")

    async def test(self) -> dict[str, Any]:
        """An event for every listener; what the webhook answers to it is told here."""
        now = self._clock.now()
        event = await self._inventory.record(TEST, "", "aleph-agentctl notify test", now)
        if self._notifier is None:
            return {"webhook": "not set", "event_id": event.id}
        notice = notice_of(_told_as(event, ""), now)
        assert notice is not None
        try:
            async with asyncio.timeout(TELL_S):
                await self._notifier.tell(notice)
        except (NotTold, TimeoutError) as trouble:
            return {"webhook": f"failed: {trouble or 'it does not answer'}", "event_id": event.id}
        return {"webhook": "told", "event_id": event.id}

    def alerts(self) -> list[str]:
        """That the owner is not being told."""
        if not self._trouble:
            return []
        return [f"The owner's webhook cannot be told ({self._trouble}); {len(self._queue)} notices wait."]

    def figures(self) -> dict[str, Any]:
        """For `status`."""
        return {
            "webhook": self._notifier is not None,
            "told": self._told,
            "waiting": len(self._queue),
            "dropped": self._dropped,
            "trouble": self._trouble,
        }


def _told_as(event: Event, name: str) -> dict[str, Any]:
    return {
        "id": event.id,
        "at": iso(event.at),
        "kind": event.kind,
        "item_hash": event.item_hash,
        "name": name,
        "text": event.text,
    }
