"""Takes named files out of VMs shortly before their leases end (rules.md 20, 25).

It begins early and holds up nothing: at the end of the lease the reaper ends the VM, whatever came by then. What comes
is hostile bytes: they go into one file whose name is ours, and nobody opens it here.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from ..domain.clock import Clock
from ..domain.errors import BadInput, Refusal
from ..domain.guest_saves import Taken
from ..domain.model import Vm, VmState
from ..ports import Guests, Inventory, SavedFiles, StoreTrouble
from .auditor import Auditor
from .inside import Inside
from .jobs import Jobs
from .shares import Shares

log = logging.getLogger(__name__)

INTERVAL_S = 15
AT_ONCE, OF_SESSION = 4, 2
"""Each may hold twice the size limit in memory."""
LEAD = timedelta(minutes=2)
"""How long before the end; a quarter of the lease where that is shorter."""
MOST_S = 110.0
_DROP_EVERY = timedelta(hours=1)
_ROWS, _REMEMBERED = 1000, 10_000
SAVED, NOT_SAVED = "saved", "not_saved"
"""Kinds of events."""


@dataclass(frozen=True)
class SaveSettings:
    """What the owner decides. `most_bytes` is of one VM; 0: nothing is saved."""

    most_bytes: int = 10 * 1024 * 1024
    folder_bytes: int = 200 * 1024 * 1024
    keep: timedelta = timedelta(days=30)


@dataclass
class Attempt:
    """What came of a VM's paths, and why others did not."""

    taken: dict[str, Taken] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    answered: bool = False
    """Whether the VM was asked for each of them."""
    final: bool = False
    """Whether there is nothing to try again."""


class Saver:
    """Looks every 15 s for leases that are about to end."""

    def __init__(
        self,
        inventory: Inventory,
        guests: Guests,
        files: SavedFiles,
        clock: Clock,
        jobs: Jobs,
        settings: SaveSettings,
        auditor: Auditor,
    ) -> None:
        self._auditor = auditor
        self._inventory, self._files, self._clock, self._jobs = inventory, files, clock, jobs
        self.settings = settings
        self.inside = Inside(guests, inventory)
        """Its own, so that it takes no caller's turn."""
        self._shares = Shares(AT_ONCE, OF_SESSION)
        self._tried: dict[str, tuple[int, int, bool]] = {}
        """By hash: of which version of the lease, how many paths came, and whether that is final."""
        self._dropped_at: datetime | None = None
        self._writing = asyncio.Lock()
        """Whether there is room is asked by one at a time."""

    async def run(self) -> None:
        """Begin with what is due; nobody waits for it."""
        try:
            now = self._clock.now()
            await self._drop(now)
            for vm in await self._inventory.due(now + LEAD, _ROWS):
                if self._is_due(vm, now):
                    self._jobs.start(f"save:{vm.item_hash}", partial(self.save, vm))
        except (StoreTrouble, OSError) as trouble:
            log.warning("saved files: %s", trouble)

    async def place(self, vm: Vm) -> str:
        """Where what was saved of it lies; empty when there is nothing."""
        return await self._files.place(vm.item_hash) if vm.save_paths else ""

    def _is_due(self, vm: Vm, now: datetime) -> bool:
        wanted = vm.state is VmState.RUNNING and vm.save_paths and self.settings.most_bytes
        left = vm.expires_at - now
        soon = timedelta() < left <= min(LEAD, (vm.expires_at - vm.created_at) / 4)
        version, _, final = self._tried.get(vm.item_hash, (0, 0, False))
        return bool(wanted) and soon and not (final and version == vm.lease_version)

    async def save(self, vm: Vm, *, early: bool = False) -> None:
        """Take what there is, as long as the lease runs. It cannot fail, so no end waits for it.

        `early`: the VM may live on all the same, and is asked again before the end of its lease.
        """
        if not self.settings.most_bytes:
            return
        attempt, left = Attempt(), (vm.expires_at - self._clock.now()).total_seconds()
        try:
            async with asyncio.timeout(min(MOST_S, left)), self._shares.turn(vm.session):
                await self._take(vm, attempt)
        except TimeoutError:
            attempt.missing.append("the rest: there was no time left")
        except (Refusal, StoreTrouble) as trouble:
            why = trouble.message if isinstance(trouble, Refusal) else trouble
            attempt.missing.append(f"the rest: {why}")
        attempt.final = attempt.answered and not early
        try:
            await self._keep(vm, attempt)
        except (Refusal, StoreTrouble, OSError) as trouble:
            log.error("what was taken out of %s is not kept: %s", vm.item_hash, trouble)

    async def _take(self, vm: Vm, attempt: Attempt) -> None:
        left = self.settings.most_bytes
        for path in vm.save_paths.split("\n"):
            try:
                taken = await self.inside.fetch(vm, path, left)
            except BadInput:
                attempt.missing.append(f"{path}: the VM has none, or does not give it")
                continue
            if len(taken.content) > left:
                attempt.missing.append(f"{path}: larger than the {left} bytes that were left")
                continue
            attempt.taken[path] = taken
            left -= len(taken.content)
        attempt.answered = True

    async def _keep(self, vm: Vm, attempt: Attempt) -> None:
        version, count, _ = self._tried.get(vm.item_hash, (0, 0, False))
        before = count if version == vm.lease_version else -1
        came = len(attempt.taken)
        self._remember(vm, max(came, before), final=attempt.final)
        if came < before or (came == before and not attempt.answered):
            return  # told already, and no better than what is kept
        async with self._writing:
            words = await self._written(vm, attempt) if attempt.taken else ""
        kind = SAVED if words else NOT_SAVED
        text = "; ".join([words or "nothing was saved", *attempt.missing])[:900]
        self._auditor.note("save", f"{vm.name}: {text}"[:500], vm.item_hash)
        await self._inventory.note(vm.item_hash, saved=text)
        await self._inventory.record(kind, vm.item_hash, f"{vm.name}: {text}", self._clock.now())

    def _remember(self, vm: Vm, came: int, *, final: bool) -> None:
        self._tried[vm.item_hash] = (vm.lease_version, came, final)
        while len(self._tried) > _REMEMBERED:
            del self._tried[next(iter(self._tried))]

    async def _written(self, vm: Vm, attempt: Attempt) -> str:
        """In words; empty, with the reason in `missing`, when there is no room."""
        size = sum(len(one.content) for one in attempt.taken.values())
        used = await self._files.used(vm.item_hash)
        if used + size > self.settings.folder_bytes:
            attempt.missing.append(f"no room: {used} bytes of other VMs are kept already (SAVE_TOTAL_MIB)")
            return ""
        try:
            await self._files.write(vm.item_hash, attempt.taken)
        except OSError as trouble:
            attempt.missing.append(f"it could not be written: {trouble.strerror}")
            return ""
        paths = len(vm.save_paths.split("\n"))
        return f"{len(attempt.taken)} of {paths} paths were saved, {size} bytes"

    async def _drop(self, now: datetime) -> None:
        if self._dropped_at is not None and timedelta() <= now - self._dropped_at < _DROP_EVERY:
            return
        first, self._dropped_at = self._dropped_at is None, now
        if count := await self._files.drop(now - self.settings.keep, halves=first):
            log.info("%d archives of saved files were old, and are removed", count)
