"""The one button: nothing is created any more, and every VM under our key ends, known to us or not.

It is durable (a freeze of its own kind; where nothing can be written it works all the same, and is written
down as soon as there is room), asks the network too, waits for no backoff and no breaker, and is done only when
the network itself lists nothing of ours.
"""

import asyncio
import logging
from dataclasses import dataclass

from ..domain.clock import Clock
from ..domain.model import LEASED, LIVE, NetworkInstance, PublishedEnd, Vm
from ..ports import Inventory, KeyMissing, Messages, NetworkTrouble, Signer, StaleRow, StoreTrouble
from .adopter import Adopter
from .freezes import Freezes
from .jobs import Jobs
from .teardown import Teardown

log = logging.getLogger(__name__)

CAUSE = "panic"
_PAUSE_S = 2.0
_BATCH = 200
_PAGE = 1000


@dataclass(frozen=True)
class Progress:
    """How far it is. `listed` is None while the network could not be asked."""

    billing: int
    """Rows whose billing has not been seen to end."""
    erasing: int
    """Rows whose billing has ended, and whose CRN has not confirmed the erase."""
    listed: int | None
    """VMs under our key that the network bills and we have no row for, or have not ended."""
    trouble: str = ""

    @property
    def done(self) -> bool:
        """Whether the network has confirmed that nothing is billed."""
        return self.billing == 0 and self.listed == 0


class Panic:
    """Goes on until it is done, over restarts too."""

    def __init__(
        self,
        inventory: Inventory,
        messages: Messages,
        signer: Signer,
        clock: Clock,
        jobs: Jobs,
        *,
        adopter: Adopter,
        teardown: Teardown,
        freezes: Freezes,
    ) -> None:
        self._inventory, self._messages, self._signer = inventory, messages, signer
        self._clock, self._jobs = clock, jobs
        self._adopter, self._teardown, self._freezes = adopter, teardown, freezes
        self.progress: Progress | None = None
        """None: there is no panic, or it has not looked yet."""

    async def begin(self, by: str) -> None:
        """Freeze everything, durably, then end everything."""
        await self._freezes.panic(by)
        self.progress = None
        self.resume()

    def resume(self) -> None:
        """After a start, and with each sweep: a panic that stands is carried on."""
        if self._freezes.panics():
            self._jobs.start("panic", self._run)

    async def _run(self) -> None:
        while self._freezes.panics():
            self.progress = await self._pass()
            if self.progress.done:
                log.warning("panic: the network confirms that nothing under our key is billed")
                return
            await asyncio.sleep(_PAUSE_S)

    async def _pass(self) -> Progress:
        """End what is known, then what only the network knows."""
        unwritten = await self._order_all()
        for vm in await self._rows():
            self._teardown.start(
                await self._teardown.order(vm.item_hash, CAUSE) if vm.state in LEASED else vm
            )
        listed, trouble = await self._end_the_unknown()
        rows = await self._rows()
        billing = sum(vm.billing for vm in rows)
        return Progress(billing, len(rows) - billing, listed, trouble or unwritten)

    async def _order_all(self) -> str:
        """Every lease at once; why not, where nothing can be written: then each is ordered by itself."""
        try:
            await self._freezes.write_down()
            while ended := await self._inventory.reap(None, self._clock.now(), _BATCH, CAUSE):
                for vm in ended:
                    self._teardown.start(vm)
        except StoreTrouble as trouble:
            log.error("panic: VMs end unwritten: %s", trouble)
            return str(trouble)
        return ""

    async def _rows(self) -> list[Vm]:
        """Everything that is being torn down, whatever its backoff says."""
        rows: list[Vm] = []
        after = ""
        while page := await self._inventory.page(states=sorted(LIVE), limit=_PAGE, after=after):
            rows += page
            after = page[-1].item_hash
        return rows

    async def _end_the_unknown(self) -> tuple[int | None, str]:
        """How many VMs the network lists that are not ended, and why it is not known."""
        try:
            listing = await self._messages.instances(self._signer.address)
            rows = await self._inventory.known([item.item_hash for item in listing])
            for item in listing:
                if item.item_hash not in rows:
                    await self._take_in(item)
                elif not rows[item.item_hash].billing:
                    await self._bury_again(rows[item.item_hash])
        except (NetworkTrouble, KeyMissing, StoreTrouble) as trouble:
            log.warning("panic: %s", trouble)
            return None, str(trouble)
        return len(listing), ""

    async def _take_in(self, item: NetworkInstance) -> None:
        vm = await self._adopter.adopt(item, PublishedEnd(0, self._clock.now()), CAUSE)
        self._teardown.start(await self._teardown.order(vm.item_hash, CAUSE))

    async def _bury_again(self, vm: Vm) -> None:
        """A listing may be behind what we know: only what the status says decides."""
        if not (await self._messages.status(vm.item_hash)).on_network:
            return
        try:
            vm = await self._teardown.revive(vm, CAUSE)
        except StaleRow as stale:  # a sweep, or its own verification, was faster
            vm = stale.vm
        self._teardown.start(vm)
