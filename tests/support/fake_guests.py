"""VMs from inside, without SSH: devnet's shell, host keys that a test changes, and faults at each step."""

import asyncio
from dataclasses import dataclass, field

from aleph_agentd.ports import Door, GuestTrouble, HostKeyChanged, KeyPair, Printed, Ran
from aleph_agentd.ports.guests import KEPT_BYTES
from aleph_devnet import guest
from aleph_devnet.shell import ExitError, Shell
from aleph_devnet.shell_files import Files
from aleph_devnet.shell_jobs import Job


@dataclass
class FakeGuest:
    """What answers at one address."""

    host_key: str
    files: Files = field(default_factory=lambda: guest._fresh_files("vm-1", ""))
    jobs: dict[str, Job] = field(default_factory=dict)


class FakeGuests:
    """The `Guests` port over guests in memory. Whoever asks at a new address finds a new VM there."""

    def __init__(self) -> None:
        self.vms: dict[tuple[str, int], FakeGuest] = {}
        self.ran: list[str] = []
        self.stdins: list[bytes] = []
        self.says: bytes | None = None
        """What a hostile VM prints in place of what was asked for."""
        self.lost: GuestTrouble | None = None
        """Raised by the next call, after the command has run if it says that it started."""
        self.gate: asyncio.Event | None = None
        """Each command waits here before it runs."""
        self._made = 0

    def new_key(self) -> KeyPair:
        """One that is unlike the others."""
        self._made += 1
        return KeyPair(f"PRIVATE {self._made}", f"ssh-ed25519 AAAA{self._made}")

    def at(self, host: str, port: int) -> FakeGuest:
        """The VM there."""
        return self.vms.setdefault((host, port), FakeGuest(f"ssh-ed25519 HOST{host}:{port}"))

    async def host_key(self, host: str, port: int) -> str:
        """What it shows."""
        self._refuse(started=False)
        return self.at(host, port).host_key

    async def run(
        self, door: Door, command: str, timeout_s: float, *, stdin: bytes = b"", most: int = KEPT_BYTES
    ) -> Ran:
        """Run it in devnet's shell."""
        there = self.at(door.host, door.port)
        if there.host_key != door.host_key:
            raise HostKeyChanged("its host key is not the one of the first contact")
        self._refuse(started=False)
        self.ran.append(command)
        self.stdins.append(stdin)
        job, code = Job(), 0
        try:
            async with asyncio.timeout(timeout_s):
                if self.gate is not None:
                    await self.gate.wait()
                code = await _status(Shell(there.files, "vm-1", there.jobs), command, stdin, job)
        except TimeoutError:
            return Ran(None, _ends(bytes(job.out), most), _ends(bytes(job.err), most), timed_out=True)
        self._refuse(started=True)
        out = bytes(job.out) if self.says is None else self.says
        return Ran(code, _ends(out, most), _ends(bytes(job.err), most))

    def _refuse(self, *, started: bool) -> None:
        if self.lost is not None and self.lost.started == started:
            trouble, self.lost = self.lost, None
            raise trouble


def _ends(data: bytes, most: int) -> Printed:
    return Printed(data[:most], data[most:][-most:], len(data))


async def _status(shell: Shell, command: str, stdin: bytes, job: Job) -> int:
    async def read() -> bytes:
        return stdin

    try:
        return await shell.run(command, read, job.write)
    except ExitError as leaving:
        return leaving.status
