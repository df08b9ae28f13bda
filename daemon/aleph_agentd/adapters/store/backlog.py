"""Deeds that wait for a transaction: bounded, repeats counted, and no session can crowd out the others."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ...domain.acting import BY_ITSELF, Act
from ...domain.audit import Deed, deed

MOST = 2000
MOST_COUNTABLE = 50
"""Of one session, from one transaction to the next."""
_MOST_SESSIONS = 100

_Key = tuple[str, ...]


@dataclass
class _Waiting:
    deed: Deed
    times: int = 1


class Backlog:
    """Touched in the event loop alone; what is taken and not written comes back."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._waiting: list[_Waiting] = []
        self._repeats: dict[_Key, _Waiting] = {}
        self._countable: Counter[str] = Counter()
        self._lost: dict[str, _Waiting] = {}

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting or self._lost)

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
                self._countable[done.session] += 1

    def _full(self, done: Deed, countable: bool) -> bool:
        # Half of the room is for what changed something, however many sessions look around.
        most = MOST // 2 if countable else MOST
        return len(self._waiting) >= most or (countable and self._countable[done.session] >= MOST_COUNTABLE)

    def take(self) -> list[Deed]:
        """All that waits, oldest first, and how much was only counted."""
        if not self:
            return []
        deeds = [_counted(waiting) for waiting in self._waiting]
        deeds += [_lost(waiting) for waiting in self._lost.values()]
        self._begin()
        return deeds

    def put_back(self, deeds: Iterable[Deed]) -> None:
        """These were not written; they go before what came since."""
        since, self._waiting = self._waiting, []
        for waiting in [*map(_Waiting, deeds), *since]:
            if len(self._waiting) < MOST:
                self._waiting.append(waiting)
            else:
                self._lose(waiting.deed, waiting.times)

    def _lose(self, done: Deed, times: int = 1) -> None:
        session = done.session if len(self._lost) < _MOST_SESSIONS else ""
        if session in self._lost:
            self._lost[session].times += times
        else:
            self._lost[session] = _Waiting(done, times)


def _counted(waiting: _Waiting) -> Deed:
    if waiting.times == 1:
        return waiting.deed
    return replace(waiting.deed, text=f"{waiting.deed.text} ({waiting.times} times)")


def _lost(waiting: _Waiting) -> Deed:
    """One entry for all that were too many; whose they were, if they were of one session."""
    first = waiting.deed
    act = Act(first.actor, first.session) if first.session else BY_ITSELF
    return deed(first.at, "unlisted", f"{waiting.times} more were too many to be written one by one", act)
