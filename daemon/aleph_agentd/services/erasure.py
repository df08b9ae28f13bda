"""The end of a VM on its CRN: erase it, and believe nothing but the CRN's own list."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from ..domain.clock import Clock
from ..domain.model import Vm
from ..ports import EraseOutcome, Hosts, NetworkTrouble
from .steps import NotYet, soon

log = logging.getLogger(__name__)

PROBE_S = 20
"""How often silent CRNs are asked whether they are back."""
AT_ONCE = 16
AT_ONCE_PER_HOST = 4
_GONE_PAUSES_S = (0.05, 0.2, 0.5, 1, 2)
_WATCH = timedelta(minutes=1)
_STOPS_BY_ITSELF = timedelta(minutes=10)
"""A CRN stops a forgotten VM after three looks, a minute apart; this is more than twice that."""


class Erasure:
    """The second step of a teardown, after the billing has ended."""

    def __init__(self, hosts: Hosts, clock: Clock, answers: Callable[[str], Awaitable[None]]) -> None:
        """`answers` is told of each CRN that was silent and has answered again."""
        self._hosts, self._clock, self._answers = hosts, clock, answers
        self._silent: set[str] = set()
        self._all = asyncio.Semaphore(AT_ONCE)
        self._per_host: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(AT_ONCE_PER_HOST)
        )

    async def run(self, vm: Vm) -> None:
        """Return when its CRN does not list it. Raises NotYet, NetworkTrouble, KeyMissing.

        A FORGET alone takes minutes to stop it, and leaves its data volumes there.
        """
        if vm.erased_at is not None:
            return
        if not (vm.crn_hash or vm.crn_url):  # an imported row may have the address alone
            self._check_stopped_by_itself(vm)
            return
        async with self._turn(vm.crn_url):
            await self._erase(vm)

    async def holds(self, vm: Vm) -> bool:
        """Whether its CRN lists it."""
        if not (vm.crn_hash or vm.crn_url):
            return False
        async with self._turn(vm.crn_url):
            return await self._hosts.execution(vm.crn_url, vm.item_hash) is not None

    @asynccontextmanager
    async def _turn(self, host: str) -> AsyncIterator[None]:
        # The host first: who waits for a slow one takes nobody's place meanwhile.
        async with self._per_host[host], self._all:
            try:
                yield
            except NetworkTrouble:
                self._silent.add(host)
                raise
        await self.answered(host)

    async def probe(self) -> None:
        """Ask the silent CRNs whether they are back; what waits for them has backed off for longer and longer."""
        await asyncio.gather(*map(self._probe, list(self._silent)))

    async def _probe(self, host: str) -> None:
        try:
            async with self._turn(host):
                await self._hosts.executions(host, [])
        except NetworkTrouble as trouble:
            log.debug("still silent: %s", trouble)

    async def answered(self, host: str) -> None:
        """This CRN has answered somebody."""
        if host in self._silent:
            self._silent.discard(host)
            await self._answers(host)

    async def _erase(self, vm: Vm) -> None:
        outcome = await self._hosts.erase(vm.crn_url, vm.item_hash)
        if outcome is EraseOutcome.REFUSED:
            raise NotYet(f"CRN {vm.crn_name or vm.crn_url} refused to erase it")
        for pause in _GONE_PAUSES_S:
            if await self._hosts.execution(vm.crn_url, vm.item_hash) is None:
                return
            await asyncio.sleep(pause)
        raise NotYet("its CRN still lists it after the erase", retry_in=soon(vm, self._clock.now()))

    def _check_stopped_by_itself(self, vm: Vm) -> None:
        """An orphan whose message names no CRN: nobody can be asked, and whoever runs it stops by itself."""
        if vm.forgotten_at is None or self._clock.now() - vm.forgotten_at < _STOPS_BY_ITSELF:
            raise NotYet(
                "its message names no CRN: whichever runs it stops it within minutes", retry_in=_WATCH
            )
