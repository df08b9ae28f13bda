"""Kill switches for whoever watches over the daemon: one file per live VM, and none for one that is gone."""

import asyncio
import logging

from ..domain import escrow
from ..domain.model import LIVE, SignedMessage, Vm
from ..ports import EscrowFiles, Inventory, KeyMissing, Signer
from .billing_end import FORGETS_PER_VM
from .jobs import Jobs

log = logging.getLogger(__name__)

INTERVAL_S = 60
"""How often what could not be written is tried again."""
PAGE = 50
_EVENTS = 500


class Escrow:
    """Follows the inventory's events; `trouble` says what could not be kept up to date."""

    def __init__(
        self,
        inventory: Inventory,
        signer: Signer,
        jobs: Jobs,
        api_hosts: tuple[str, ...],
        files: EscrowFiles | None = None,
    ) -> None:
        self._inventory, self._signer, self._jobs = inventory, signer, jobs
        self._api_hosts, self._files = api_hosts, files
        self._seen: int | None = None
        self._news = False
        self._behind: dict[str, None] = {}
        self._written: dict[str, int] = {}
        self.trouble = ""

    def alerts(self) -> list[str]:
        """For every answer, while files are behind."""
        return [f"Kill switches cannot be put into ESCROW_DIR: {self.trouble}"] if self.trouble else []

    async def page(self, after: str) -> tuple[list[tuple[str, str]], str]:
        """Names and texts of the kill switches of some live VMs, and behind which row there are more."""
        rows = await self._inventory.page(states=sorted(LIVE), limit=PAGE, after=after)
        files = [await self._file(vm) for vm in rows if vm.billing]
        return [file for file in files if file], rows[-1].item_hash if len(rows) == PAGE else ""

    def changed(self) -> None:
        """The inventory changed."""
        self._news = True
        if self._files is not None:
            self._jobs.start("escrow", self._follow).add_done_callback(self._look_again)

    def _look_again(self, task: "asyncio.Task[None]") -> None:
        # A change that came after the last look, and before the task was gone.
        if self._news and not task.cancelled():
            self.changed()

    async def run(self) -> None:
        """Everything once, at the first call; then what is new, and what could not be written before."""
        if self._files is not None:
            await self._jobs.start("escrow", self._follow)

    async def _follow(self) -> None:
        self._news = False
        if self._seen is None:
            seen = await self._inventory.last_event_id()
            await self._begin()
            self._seen = seen
        while events := await self._inventory.events(self._seen, _EVENTS):
            self._behind |= dict.fromkeys(event.item_hash for event in events if event.item_hash)
            self._seen = events[-1].id
            await self._catch_up()
        await self._catch_up()

    async def _begin(self) -> None:
        """Every live VM; and the files of those that have ended while we did not run."""
        after, current = "", set[str]()
        while rows := await self._inventory.page(states=sorted(LIVE), limit=PAGE, after=after):
            self._behind |= dict.fromkeys(vm.item_hash for vm in rows)
            current |= {escrow.file_name(vm.name, vm.item_hash) for vm in rows}
            after = rows[-1].item_hash
        assert self._files is not None
        try:
            names = await self._files.names()
        except OSError as error:
            self._complain(error)
            return
        for name in sorted(set(names) - current):
            prefix = name.removesuffix(escrow.SUFFIX)[-12:]
            # A file of a VM that we do not know is somebody else's.
            for vm in await self._inventory.find(prefix):
                if escrow.file_name(vm.name, vm.item_hash) == name:
                    self._behind[vm.item_hash] = None

    async def _catch_up(self) -> None:
        for item_hash in list(self._behind):
            try:
                await self._refresh(item_hash)
            except OSError as error:
                self._complain(error)
                return
            del self._behind[item_hash]
        self.trouble = ""

    def _complain(self, error: OSError) -> None:
        trouble = error.strerror or str(error)
        if trouble != self.trouble:
            log.error("kill switches cannot be put into ESCROW_DIR: %s", trouble)
        self.trouble = trouble

    async def _refresh(self, item_hash: str) -> None:
        assert self._files is not None
        vm = await self._inventory.get(item_hash)
        if vm is None:
            return
        file = await self._file(vm) if vm.billing else None
        if file is None:
            await self._files.remove(escrow.file_name(vm.name, vm.item_hash))
            self._written.pop(item_hash, None)
        elif self._written.get(item_hash) != hash(file):
            await self._files.write(*file)
            self._written[item_hash] = hash(file)

    async def _file(self, vm: Vm) -> tuple[str, str] | None:
        """Name and text; None for a VM that nothing was signed for and nothing can be."""
        forgets = await self._inventory.forgets(vm.item_hash) or await self._fresh(vm)
        if not forgets:
            return None
        switch = escrow.of(vm, forgets, self._api_hosts)
        return escrow.file_name(vm.name, vm.item_hash), escrow.write(switch)

    async def _fresh(self, vm: Vm) -> tuple[SignedMessage, ...]:
        """An adopted VM has none yet."""
        try:
            fresh = await self._signer.sign_forgets(vm.item_hash, vm.payer, FORGETS_PER_VM)
        except KeyMissing:
            return ()
        await self._inventory.add_forgets(vm.item_hash, fresh)
        return fresh
