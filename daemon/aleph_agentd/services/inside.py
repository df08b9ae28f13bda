"""Works inside VMs that run: commands as jobs, and small files. Bounded in time, memory and number."""

import secrets
import shlex

from ..domain.activity import Activity, activity_line, activity_of
from ..domain.errors import BadInput, Conflict, NotFound, Refusal, Unavailable, Unknown
from ..domain.guest_files import get_line, put_line
from ..domain.guest_jobs import JobReport, line_for, report_of
from ..domain.guest_saves import HEADER_BYTES, Taken, save_line, taken_of
from ..domain.model import Vm, VmState
from ..domain.untrusted import fenced, readable
from ..ports import Door, Guests, GuestTrouble, HostKeyChanged, Inventory, Ran
from .turns import Turns

MOST_FILE = 256 * 1024
ANSWER_S = 20.0
"""How long a VM has to answer, on top of what the caller waits for a job."""
FILE_S = 60.0
_LOOK = "Look at aleph_list_my_vms."


class Inside:
    """What a VM says is hostile: it is parsed strictly here, and fenced by whoever shows it."""

    def __init__(self, guests: Guests, inventory: Inventory) -> None:
        self.guests, self._inventory = guests, inventory
        self._turns = Turns()

    async def start(self, vm: Vm, job: str, command: str, wait_s: float) -> JobReport:
        """Begin a job, unless there is one of this id, and wait a while for its end. Raises Refusal."""
        return await self._job(vm, "start", job, command.encode(), wait_s)

    async def look(self, vm: Vm, job: str, wait_s: float, offset: int | None = None) -> JobReport:
        """How a job stands. Raises Refusal."""
        return await self._job(vm, "look", job, b"", wait_s, offset)

    async def stop(self, vm: Vm, job: str) -> JobReport:
        """End a job and all that it started, by SIGTERM and then by SIGKILL. Raises Refusal."""
        return await self._job(vm, "stop", job)

    async def put(self, vm: Vm, path: str, content: bytes) -> None:
        """Write a file, all of it or nothing. Raises Refusal."""
        line = put_line(secrets.token_hex(8), path, len(content))
        ran = await self._run(vm, line, FILE_S, f"Copy {shlex.quote(path)} again.", stdin=content)
        _check_copied(vm, ran)

    async def get(self, vm: Vm, path: str) -> bytes:
        """Up to one byte more than MOST_FILE of a file. Raises Refusal."""
        ran = await self._run(vm, get_line(path, MOST_FILE + 1), FILE_S, "Try again.", most=MOST_FILE + 1)
        _check_copied(vm, ran)
        return ran.stdout.head

    async def activity(self, vm: Vm) -> Activity:
        """What goes on in it. Raises Refusal, also when that is not plainly said."""
        nonce = secrets.token_hex(8)
        ran = await self._run(vm, activity_line(nonce), ANSWER_S, "Ask again.")
        seen = activity_of(ran.stdout.head, nonce)
        if seen is None:
            raise Unknown(f"What {vm.name} answers makes no sense.{_complaint(ran)}", "Ask again.")
        return seen

    async def fetch(self, vm: Vm, path: str, most: int) -> Taken:
        """A file or a directory, and up to one byte more than `most` of it. Raises Refusal."""
        nonce = secrets.token_hex(8)
        line = save_line(nonce, path, most + 1)
        ran = await self._run(vm, line, FILE_S, "Try again.", most=most + 1 + HEADER_BYTES)
        _check_copied(vm, ran)
        taken = taken_of(ran.stdout.head, nonce)
        if taken is None:
            raise BadInput(f"What {vm.name} answers makes no sense.", "Try again.", code="guest")
        return taken

    async def _job(
        self, vm: Vm, verb: str, job: str, stdin: bytes = b"", wait_s: float = 0, offset: int | None = None
    ) -> JobReport:
        nonce = secrets.token_hex(8)
        line = line_for(nonce, verb, job, wait_s, offset, stdin)
        then = f"Call aleph_vm_run with item_hash={vm.item_hash} and job={job}: it tells how far that is."
        ran = await self._run(vm, line, wait_s + ANSWER_S, then, stdin=stdin)
        printed = ran.stdout.head if ran.stdout.left_out else ran.stdout.head + ran.stdout.tail
        report = report_of(printed, nonce, offset)
        if report is None:
            raise Unknown(f"What {vm.name} answers makes no sense.{_complaint(ran)}", then)
        if report.state != "none":
            return report
        if verb == "start":
            raise Unavailable(
                f"{vm.name} could not start it.{_complaint(ran)}", "Its disk may be full.", code="guest"
            )
        raise NotFound(f"{vm.name} has no job {job}.", "Jobs end with a reinstall; start a new one.")

    async def _run(
        self, vm: Vm, line: str, timeout_s: float, then: str, stdin: bytes = b"", most: int = 0
    ) -> Ran:
        """One command. `then` is what to do when it is not known whether it ran."""
        check_running(vm)
        with self._turns.one(vm):
            try:
                door = await self._door(vm)
                more = {"most": most} if most else {}
                ran = await self.guests.run(door, line, timeout_s, stdin=stdin, **more)
            except GuestTrouble as trouble:
                raise await self._explained(vm, trouble, then) from trouble
        if ran.timed_out:
            raise await self._explained(vm, GuestTrouble("it does not answer", started=True), then)
        return ran

    async def _door(self, vm: Vm) -> Door:
        key = await self._inventory.guest_key(vm.item_hash)
        if key is None:
            raise Conflict(
                f"The daemon has no SSH key for {vm.name}: it was made without one.",
                f"Log in with your own: {vm.ssh_command()}",
                code="no_guest_key",
            )
        pinned = key.host_key
        if not pinned:
            shown = await self.guests.host_key(vm.host_ipv4, vm.ssh_port)
            pinned = await self._inventory.pin_host_key(vm.item_hash, shown)
        return Door(vm.host_ipv4, vm.ssh_port, key.private_key, pinned)

    async def _explained(self, vm: Vm, trouble: GuestTrouble, then: str) -> Refusal:
        row = await self._inventory.get(vm.item_hash)
        if row is None or row.state is not VmState.RUNNING:
            return Conflict(f"{vm.name} was ended meanwhile.", _LOOK, code="not_running")
        if isinstance(trouble, HostKeyChanged):
            return Conflict(
                f"Another machine answers where {vm.name} was, or its disk is another one: {trouble}. Nothing was sent.",
                "Tell the user. If nobody reinstalled it, do not trust it: aleph_destroy_vm.",
                code="host_key_changed",
            )
        if trouble.started:
            return Unknown(f"{vm.name} was lost while it ran: {trouble}.", then)
        return Unavailable(
            f"{vm.name} cannot be reached by SSH: {trouble}.",
            f"Nothing was sent. Call aleph_wait_vm with item_hash={vm.item_hash} until SSH answers, then again.",
            code="unreachable",
        )


def check_running(vm: Vm) -> None:
    """Raises Conflict with the next call unless the VM runs."""
    if vm.state is VmState.RUNNING:
        return
    coming = vm.state in (VmState.INTENDED, VmState.PROVISIONING)
    raise Conflict(
        f"{vm.name} is {vm.state}; only a VM that runs can be worked in.",
        f"Call aleph_wait_vm with item_hash={vm.item_hash}, then again." if coming else _LOOK,
        code="not_running",
    )


def _check_copied(vm: Vm, ran: Ran) -> None:
    if ran.exit_code != 0:
        raise BadInput(f"{vm.name} could not do it.{_complaint(ran)}", "Check the path.", code="guest")


def _complaint(ran: Ran) -> str:
    err = ran.stderr
    text = fenced(readable(err.head, err.tail, err.total, 300).strip(), secrets.token_hex(8))
    return f" It says:\n{text}" if text else ""
