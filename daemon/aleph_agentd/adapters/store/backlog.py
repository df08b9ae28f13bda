"""Deeds that wait for a transaction: bounded, repeats counted, and nobody can crowd out the others.

Nor the past: whoever could write entries as fast as the disk takes them could have the log rotate away what
he did an hour ago. So much of what changes nothing is written for each user and second, the rest is counted.
"""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ...domain.acting import BY_ITSELF, Act
from ...domain.audit import Deed, deed

MOST = 2000
MOST_COUNTABLE = 20
"""Of one user, in one second."""
_MOST_USERS = 100
_MOST_BATCHES = 4

_Key = tuple[str, ...]


@dataclass
class _Waiting:
    deed: Deed
    times: int = 1


class Backlog:
    """Filled in the event loop, written by the thread; what a transaction could not write, the next one does."""

    def __init__(self) -> None:
        self._second, self._countable = 0, Counter[str]()
        self._handed = deque[list[Deed]]()
        """For the thread: added to at one end by the loop, taken from and given back at the other by the thread."""
        self._begin()

    def _begin(self) -> None:
        self._waiting: list[_Waiting] = []
        self._repeats: dict[_Key, _Waiting] = {}
        self._lost: dict[str, _Waiting] = {}

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting or self._lost or self._handed)

    def add(self, done: Deed, *, countable: bool) -> None:
        """Let it wait; or only count it, when there are too many or it is one of many like it."""
        key = (done.kind, done.actor, done.session, done.item_hash, done.text)
        if countable and (same := self._repeats.get(key)):
            same.times += 1
        elif self._full(done, countable):
            self._lose(done)
        else:
            waiting = _Waiting(done)
            self._waiting.append(waiting)
            if countable:
                self._repeats[key] = waiting

    def _full(self, done: Deed, countable: bool) -> bool:
        if not countable:
            return len(self._waiting) >= MOST
        second, who = int(done.at.timestamp()), _user(done)
        if second != self._second:
            self._second, self._countable = second, Counter()
        self._countable[who] += 1
        # Half of the room is for what changed something.
        return self._countable[who] > MOST_COUNTABLE or len(self._waiting) >= MOST // 2

    def hand_over(self) -> None:
        """In the loop, before a transaction is asked for: all that waits, oldest first, goes to the thread."""
        # While nothing can be written, it is here that it waits, where there is a limit.
        if (self._waiting or self._lost) and len(self._handed) < _MOST_BATCHES:
            deeds = [_counted(waiting) for waiting in self._waiting]
            deeds += [_lost(waiting) for waiting in self._lost.values()]
            self._handed.append(deeds)
            self._begin()

    @contextmanager
    def handed(self, writes: bool) -> Iterator[list[Deed]]:
        """In the thread, around a transaction: what it is to write, too. A caller that gave up left its part here."""
        batches: list[list[Deed]] = []
        while writes and self._handed:
            batches.append(self._handed.popleft())
        try:
            yield [done for batch in batches for done in batch]
        except BaseException:
            self._handed.extendleft(reversed(batches))
            raise

    def _lose(self, done: Deed) -> None:
        who = _user(done) if len(self._lost) < _MOST_USERS else BY_ITSELF.actor
        if who in self._lost:
            self._lost[who].times += 1
        else:
            self._lost[who] = _Waiting(done)


def _user(done: Deed) -> str:
    """Whose it is: of processes and sessions anybody has as many as he likes (rules.md 13)."""
    return done.actor.partition(" pid=")[0]


def _counted(waiting: _Waiting) -> Deed:
    if waiting.times == 1:
        return waiting.deed
    return replace(waiting.deed, text=f"{waiting.deed.text} ({waiting.times} times)")


def _lost(waiting: _Waiting) -> Deed:
    """One entry for all of a user's that were too many."""
    text = f"{waiting.times} more were too many to be written one by one"
    return deed(waiting.deed.at, "unlisted", text, Act(_user(waiting.deed)))
