"""A daemon that is forked by the nursery instead of being started anew, with a fuse."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from crash.fuse import Fuse
from crash.points import points
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess


class Forked:
    """A process that is not our child, with what DaemonProcess needs of `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._door: int | None
        try:
            self._door = os.pidfd_open(pid)
        except ProcessLookupError:
            self._door = None

    def poll(self) -> int | None:
        """0 once it has ended, whatever of."""
        return 0 if self._ended(0) else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired("a forked daemon", timeout or 0)
        return 0

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self._door is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._door, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float | None) -> bool:
        if self._door is not None and select.select([self._door], [], [], seconds)[0]:
            os.close(self._door)
            self._door = None
        return self._door is None


class Nursery:
    """Forks daemons; started once for a whole run."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ALEPH_")}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("nursery.py"))],
            env=environment,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def fork(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, fuse: Path
    ) -> Forked:
        """A new process of ours that runs `aleph-agentd` with these arguments."""
        order = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": str(folder),
            "log": "daemon.log",
            "fuse": str(fuse),
        }
        assert self._process.stdin and self._process.stdout
        with self._turn:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return Forked(int(self._process.stdout.readline()))


class MortalDaemon(DaemonProcess):
    """One daemon with an account of its own, that dies where its fuse says."""

    ready_s = 180.0

    def __init__(
        self, net: DevnetProcess, nursery: Nursery, environment: Mapping[str, str | None] | None = None
    ) -> None:
        super().__init__(net, environment=environment)
        if escrow := self.environment.get("ALEPH_AGENT_ESCROW_DIR"):
            self.environment["ALEPH_AGENT_ESCROW_DIR"] = str(self.folder / escrow)
        self.state = self.folder / "state"
        self._nursery = nursery
        self.fuse = Fuse(self.folder / "fuse", len(points()))

    def spawn(self) -> None:
        """Fork it and do not wait."""
        self._last = self.run("run")
        self._process = self._last  # type: ignore[assignment]

    @property
    def database(self) -> Path:
        """Its inventory, wherever its state is now."""
        return self.state / "aleph-agentd" / "inventory.db"

    @property
    def pid(self) -> int:
        """Of its newest life."""
        return self._last.pid

    def run(self, *arguments: str) -> Forked:
        """Another program of the same kind, in the same place."""
        return self._nursery.fork(arguments, self.environment, self.folder, self.fuse.path)

    def close(self) -> None:
        """Kill it and remove all that it wrote."""
        self.kill()
        self.fuse.close()
        super().close()
