"""The dead-man's switch: ends VMs whose lease is over from their files alone, when the daemon does not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..domain import escrow
from ..domain.clock import Clock, iso, span
from ..domain.escrow import KillSwitch, NotOurs
from ..ports import Messages, MessageStatus, NetworkTrouble
from .kill_switches import pull

AT_ONCE = 8
TRIES = 3
PAUSE_S = 2.0
CLOCK_OFF = timedelta(minutes=10)
"""How far the local clock may be off before the network's is believed instead (rules.md 19)."""
UNREADABLE_WAIT = timedelta(hours=1)
"""How long an extension that cannot be looked up holds up the end (rules.md 9)."""

OpenMessages = Callable[[Sequence[str], bool], Messages]


@dataclass(frozen=True)
class Outcome:
    """What became of one file. `confirmed`: nothing about it is left to do now."""

    name: str
    text: str
    confirmed: bool


class EscrowReaper:
    """Looks at every file once; running it again and again does no harm."""

    def __init__(self, clock: Clock, open_messages: OpenMessages) -> None:
        self._clock, self._open = clock, open_messages
        self._room = asyncio.Semaphore(AT_ONCE)
        self._offsets: dict[tuple[str, ...], timedelta] = {}

    async def run(self, names: Iterable[str], read: Callable[[str], str]) -> AsyncIterator[Outcome]:
        """The outcome of each file, as soon as it is known. `read` may raise NotOurs, and may take its time."""
        for done in asyncio.as_completed([self._file(name, read) for name in names]):
            yield await done

    async def _file(self, name: str, read: Callable[[str], str]) -> Outcome:
        # Read only in its turn: the directory may hold more than fits into memory.
        async with self._room:
            try:
                switch = escrow.read(await asyncio.to_thread(read, name))
            except NotOurs as why:
                return Outcome(name, f"refused: {why}", confirmed=False)
            return await self._switch(name, switch)

    async def _switch(self, name: str, switch: KillSwitch) -> Outcome:
        local = any(escrow.is_loopback(host) for host in switch.api_hosts)
        everywhere = self._open(switch.api_hosts, local)
        now = self._clock.now() + await self._offset(everywhere, switch.api_hosts)
        if switch.expires_at > now:
            return _not_due(name, switch.expires_at, now)
        try:
            published = await self._published_end(switch, local)
        except NetworkTrouble as trouble:
            if now < switch.expires_at + UNREADABLE_WAIT:
                why = f"whether its lease was extended cannot be looked up; waiting at most 1 h: {trouble}"
                return Outcome(name, why, confirmed=False)
            published = None
        if published is not None and published > now:
            return _not_due(name, published, now)
        return await self._end(name, switch, everywhere)

    async def _offset(self, messages: Messages, hosts: tuple[str, ...]) -> timedelta:
        """What is to be added to the local clock; nothing while it is about right, or nobody answers."""
        if hosts not in self._offsets:
            try:
                off = await messages.network_time() - self._clock.now()
            except NetworkTrouble:
                return timedelta()
            self._offsets[hosts] = off if abs(off) > CLOCK_OFF else timedelta()
        return self._offsets[hosts]

    async def _published_end(self, switch: KillSwitch, local: bool) -> datetime | None:
        """The latest end that any CCN knows of. Raises NetworkTrouble when none of them answers."""
        ends, troubles = [], []
        for host in switch.api_hosts:
            try:
                published = await self._open([host], local).published_ends(switch.sender)
            except NetworkTrouble as trouble:
                troubles.append(trouble)
            else:
                ends += [published[switch.item_hash].expires_at] if switch.item_hash in published else []
        if len(troubles) == len(switch.api_hosts):
            raise troubles[0]
        return max(ends, default=None)

    async def _end(self, name: str, switch: KillSwitch, messages: Messages) -> Outcome:
        why = ""
        for n in range(TRIES):
            if n:
                await asyncio.sleep(PAUSE_S)
            try:
                before = await messages.status(switch.item_hash)
                status = await pull(messages, switch.item_hash, switch.forgets)
            except NetworkTrouble as trouble:
                why = f"not confirmed: {trouble}"
                continue
            if status.billing_ended:
                text = f"is {status} already" if before.billing_ended else f"ended: the network says {status}"
                return Outcome(name, text, confirmed=True)
            why = f"not confirmed: {_WORDS.get(status, f'still {status}, after every FORGET in the file')}"
            if status in _WORDS:
                break
        return Outcome(name, why, confirmed=False)


_WORDS = {
    MessageStatus.UNKNOWN: "the network does not know it; nothing was posted, and it is asked again",
    MessageStatus.REJECTED: "the network has rejected it, which is not final; nothing was posted",
}


def _not_due(name: str, at: datetime, now: datetime) -> Outcome:
    return Outcome(name, f"ends {iso(at)}, in {span((at - now).total_seconds())}", confirmed=True)
