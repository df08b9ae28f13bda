"""From the spawn of a daemon to its READY, and from there to the first quote."""

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import perf_counter

from bench.figures import Figure, interleaved, ratio
from bench.processes import ANSWER_S, PYTHON, time_to_imported
from bench.round_trips import Line, checked, question
from support.daemon import DaemonProcess

MAX_RATIO = 1.5
FORBIDDEN = ("aleph.sdk", "mcp")
_PROBE = Path(__file__).with_name("modules_at_ready.py")
_QUOTE = question("tools.call", name="aleph_create_vm", arguments={"name": "bench", "dry_run": True})


class Start:
    """Starts one daemon again and again; READY arrives on a socket of ours, as it would at systemd's."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon
        self._state = Path(daemon.environment["XDG_STATE_HOME"])
        self.address = daemon.folder / "notify.sock"
        self.to_quote: list[float] = []

    def fresh(self) -> float:
        """Seconds to READY when the database has to be made."""
        shutil.rmtree(self._state, ignore_errors=True)
        return self._ready(lambda: None)

    def again(self) -> float:
        """Seconds to READY with the database that is there."""
        return self._ready(lambda: None)

    def with_quote(self) -> float:
        """Seconds from READY to the first quote."""
        self._ready(self._quote)
        return self.to_quote[-1]

    def _ready(self, then: Callable[[], None]) -> float:
        with self._listening() as notices:
            start = perf_counter()
            self._daemon.spawn()
            try:
                while b"READY=1" not in notices.recv(4096):
                    pass
                took = perf_counter() - start
                then()
            finally:
                self._daemon.kill()
        return took

    def _quote(self) -> None:
        start = perf_counter()
        with closing(Line(self._daemon.control_socket, _QUOTE)) as line:
            answer = line.ask()
            self.to_quote.append(perf_counter() - start)
        checked(answer)

    @contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        with suppress(FileNotFoundError):
            self.address.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            notices.bind(str(self.address))
            notices.settimeout(ANSWER_S)
            self._daemon.environment["NOTIFY_SOCKET"] = str(self.address)
            yield notices

    def modules(self) -> list[str]:
        """What a daemon has loaded at READY and a bare interpreter has not, in the order of loading."""
        with self._listening():
            done = subprocess.run(
                [PYTHON, str(_PROBE)],
                env=self._daemon.environment,
                cwd=self._daemon.folder,
                stdout=subprocess.PIPE,
                timeout=ANSWER_S,
                check=True,
            )
        bare = subprocess.run(
            [PYTHON, "-c", "import sys; print(*sys.modules)"], stdout=subprocess.PIPE, check=True
        )
        known = {*bare.stdout.decode().split(), "__main__", "__mp_main__"}
        return [name for name in json.loads(done.stdout) if name not in known]


def measure(daemon: DaemonProcess, rounds: int) -> list[Figure]:
    """Both starts against their imports, and the first quote against the SDK's."""
    start = Start(daemon)
    modules = start.modules()
    if slow := [name for name in modules if any(f"{name}.".startswith(f"{bad}.") for bad in FORBIDDEN)]:
        raise RuntimeError(f"loaded at READY: {', '.join(slow)}")
    env, folder = daemon.environment, daemon.folder

    def imports() -> float:
        return time_to_imported(_importing(modules), env, folder)

    def sdk() -> float:
        return time_to_imported("import aleph.sdk", env, folder)

    floor = f"import of the {len(modules)} modules loaded at READY"
    return [
        ratio(
            "daemon: start to READY, new database",
            floor,
            interleaved(rounds, start.fresh, imports),
            MAX_RATIO,
        ),
        ratio(
            "daemon: start to READY, existing database",
            floor,
            interleaved(rounds, start.again, imports),
            MAX_RATIO,
        ),
        ratio("daemon: READY to first quote", "import aleph.sdk", interleaved(rounds, start.with_quote, sdk)),
    ]


def _importing(modules: list[str]) -> str:
    """Imports in the daemon's order; a name that some module put there by hand is no module to import."""
    return f"""
for name in {modules!r}:
    try:
        __import__(name)
    except ImportError:
        pass
"""
