"""Scripts that VMs run once, at first contact: begun by the daemon, whoever asked for the VM may be gone.

A script is in the inventory before its VM is broadcast. It runs in the VM as a job whose id follows from the
VM's hash, and the VM itself knows whether it was begun: it runs at most once on one disk, also when the daemon
is killed at any moment.
"""

import asyncio
import hashlib
import logging
from functools import partial

from ..domain.errors import NotFound, Refusal
from ..domain.guest_jobs import JobReport, Stream
from ..domain.model import Vm, VmState
from ..domain.untrusted import readable
from ..ports import Guests, Inventory, SetupResult, StoreTrouble
from .auditor import Auditor
from .inside import Inside
from .jobs import Jobs
from .shares import Shares

log = logging.getLogger(__name__)

DONE, FAILED, LOST, RUNNING = "done", "failed", "lost", "running"
INTERVAL_S = 60
"""Between two looks for scripts that nobody carries on."""
MOST, OF_SESSION = 8, 4
"""VMs that are asked at a time, beside those that callers work in; the others wait for their turn."""
_FIRST_PAUSE_S, _GROWS, _MAX_PAUSE_S = 0.5, 1.5, 120.0
"""Soon back in a VM that boots or is quick; rarely in one that never answers or works for days."""
_LOOK_S = 60.0
"""How long a VM is asked to wait for the end, while there are turns left for others."""
_TAIL_BYTES = 300
"""Of each stream, which keep an answer below 2 kB."""
_FINAL = frozenset({"guest", "host_key_changed", "no_guest_key"})
"""Refusals that stay: whoever waits is told."""


class Setup:
    """Carries each script to its end."""

    def __init__(self, inventory: Inventory, guests: Guests, jobs: Jobs, auditor: Auditor) -> None:
        self._inventory, self._jobs, self._auditor = inventory, jobs, auditor
        self.inside = Inside(guests, inventory)
        """Its own, so that scripts take no caller's turn."""
        self._shares = Shares(MOST, OF_SESSION)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def recover(self) -> None:
        """After a start, and again and again: go on with those that have no result yet."""
        for item_hash in await self._inventory.open_setups():
            self._start(item_hash)

    def begin(self, vm: Vm) -> None:
        """A VM has come up: run its script, if it has one. It cannot fail, so no create fails by it."""
        self._start(vm.item_hash)

    async def anew(self, vm: Vm) -> None:
        """It has a new disk, or may have: nothing counts that was heard of the old one until now."""
        asking = self._jobs.running(_name(vm.item_hash))
        if asking is not None:
            asking.cancel()
            await asyncio.wait({asking})
        await self._inventory.new_disk(vm.item_hash)
        self.begin(vm)

    def stop(self) -> None:
        """The daemon ends, and waits for no script: its next life goes on with them."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()

    def _start(self, item_hash: str) -> None:
        if not self._stopped and self._jobs.running(_name(item_hash)) is None:
            task = self._jobs.start(_name(item_hash), partial(self._run, item_hash))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, item_hash: str) -> None:
        pause, told, begun = _FIRST_PAUSE_S, False, False
        while True:
            try:
                vm = await self._inventory.get(item_hash)
                if vm is None or vm.state is not VmState.RUNNING:
                    return  # one that is still coming begins it when it has come
                setup = await self._inventory.setup_of(item_hash)
                if setup is None or setup.result is not None:
                    return
                if not told:
                    self._tell(vm, setup.script)
                    told = True
                result = await self._ask(vm, setup.script, begun=begun)
                if result is not None:
                    await self._inventory.end_setup(item_hash, result)
                    return
                if not begun:
                    begun, pause = True, _FIRST_PAUSE_S
            except (Refusal, StoreTrouble) as trouble:
                log.info("setup of %s: %s", item_hash, trouble)
                begun = begun and not isinstance(trouble, NotFound)
            await asyncio.sleep(pause)
            pause = min(pause * _GROWS, _MAX_PAUSE_S)

    def _tell(self, vm: Vm, script: str) -> None:
        digest = hashlib.sha256(script.encode()).hexdigest()
        self._auditor.note("setup", f"a script of sha256 {digest} as job {_job(vm)}", vm.item_hash)

    async def _ask(self, vm: Vm, script: str, *, begun: bool) -> SetupResult | None:
        """Begin it, unless the VM has begun it: how it ended, or None. Raises Refusal while that is not known."""
        try:
            async with self._shares.turn(vm.session):
                if begun:
                    # The last turn is for those that begin.
                    wait_s = 0 if self._shares.is_used_up(vm.session) else _LOOK_S
                    report = await self.inside.look(vm, _job(vm), wait_s)
                else:
                    report = await self.inside.start(vm, _job(vm), script, 0)
        except Refusal as refusal:
            if refusal.code in _FINAL:
                return SetupResult(FAILED, None, refusal.message)
            raise
        if report.state == RUNNING:
            return None
        if report.exit_code is None:
            return SetupResult(LOST, None, _told(report))
        return SetupResult(FAILED if report.exit_code else DONE, report.exit_code, _told(report))


def _name(item_hash: str) -> str:
    return f"setup:{item_hash}"


def _job(vm: Vm) -> str:
    """Always the same for this VM, so that no life of the daemon begins it again."""
    return hashlib.sha256(f"setup\0{vm.item_hash}".encode()).hexdigest()[:12]


def _told(report: JobReport) -> str:
    """The ends of both streams."""
    return "\n".join(text for text in map(_end, (report.out, report.err)) if text)


def _end(stream: Stream) -> str:
    data = (stream.head + stream.tail)[-_TAIL_BYTES:]
    return readable(data, b"", len(data)).strip("\n")
