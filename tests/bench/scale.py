"""Ten thousand live leases: starting, memory, pages, idling, punctual ends, a thousand ends at once."""

import asyncio
import shutil
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from aleph_agentd.services.health import CONNECTIONS_PER_S
from bench import crowd
from bench.daemon_start import Start
from bench.figures import Figure, amount, interleaved, ratio, worst
from bench.processes import ANSWER_S, cpu_s, peak_mib, resident_mib
from bench.round_trips import Line, checked, question
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess

MAX_START, MAX_ARMED_S, MAX_MIB, MAX_PAGE, MAX_LATE_S = 2.0, 5.0, 60.0, 3.0, 1.0
MAX_MASS, MAX_PING, MAX_IDLE_PERCENT = 1.5, 3.0, 1.0
AT_ONCE, CCN_S, DEAD = 16, 0.3, 0.1
SWEEP_EVERY_S = 300.0
"""The default of SWEEP_INTERVAL_S."""
_UNITS = 10**13
_PING_EVERY_S = 0.02
_WINDOW_S = 10.0
PATIENCE_S = 120.0
_PAGE = question("tools.call", name="aleph_list_my_vms", arguments={})


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    leases: int = 10_000
    few: int = 10
    spread: int = 300
    spread_s: float = 30.0
    mass: int = 1000
    crns: int = 20
    starts: int = 7
    pages: int = 5
    sweeps: int = 3
    idle_s: float = 60.0
    warm_s: float = 12.0
    rest_s: float = 4.0
    health_s: float = 15.0


FULL = Sizes()
QUICK = Sizes(
    leases=60,
    spread=10,
    spread_s=0.5,
    mass=20,
    crns=10,
    starts=1,
    pages=1,
    sweeps=1,
    idle_s=0.5,
    warm_s=2.0,
    rest_s=0.5,
    health_s=0.5,
)


def measure(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """Every figure, on a network of its own."""
    with (
        DevnetProcess(folder, crns=sizes.crns, crn_memory_gib=4096) as net,
        idle_daemon(net) as empty,
        idle_daemon(net) as few,
        idle_daemon(net) as many,
    ):
        mortal = 2 + sizes.spread + sizes.mass
        crowd.settle(net, {few: sizes.few, many: sizes.leases}, mortal=mortal)
        yield _starts(empty, many, sizes)
        yield from _quiet(empty, few, many, sizes)
        yield _health(net, many, sizes)
        yield from ends(net, many, sizes)


@contextmanager
def idle_daemon(net: DevnetProcess) -> Iterator[DaemonProcess]:
    """A daemon that does not run yet, and whose long log nobody wants to read."""
    environment = {"ALEPH_AGENT_HEALTH_INTERVAL_S": "off"}
    daemon = DaemonProcess(net, units=_UNITS, environment=environment)
    try:
        yield daemon
    finally:
        daemon.kill()
        shutil.rmtree(daemon.folder, ignore_errors=True)


def _starts(empty: DaemonProcess, many: DaemonProcess, sizes: Sizes) -> Figure:
    crowded, bare = Start(many), Start(empty)
    pairs = interleaved(sizes.starts, crowded.again, bare.again)
    return ratio(f"scale: start to READY with {sizes.leases} leases", "with none", pairs, MAX_START)


# ---------------------------------------------------------------------- while nothing ends


def _quiet(empty: DaemonProcess, few: DaemonProcess, many: DaemonProcess, sizes: Sizes) -> Iterator[Figure]:
    pids = {daemon: _warm(daemon) for daemon in (empty, few, many)}
    for what, read in (("resident memory", resident_mib), ("its peak", peak_mib)):
        grown = read(pids[many]) - read(pids[empty])
        detail = f"{read(pids[many]):.1f} MiB against {read(pids[empty]):.1f} MiB with none, after a sweep"
        yield Figure(f"scale: growth of {what}", grown, "MiB", MAX_MIB, detail, 1)
    empty.kill()
    yield _pages(few, many, sizes)
    few.kill()
    yield _idle(many, pids[many], sizes)
    many.kill()


def _warm(daemon: DaemonProcess) -> int:
    """Start it and wait until it has swept; its process id."""
    daemon.start()
    deadline = time.monotonic() + ANSWER_S
    while not daemon.control_socket.exists() or _status(daemon)["sweep"]["trouble"]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no sweep: {_status(daemon)['sweep']}")
        time.sleep(0.2)
    with closing(Line(daemon.control_socket, _PAGE)) as line:
        checked(line.ask())
        return line.server_pid()


def _status(daemon: DaemonProcess) -> dict[str, Any]:
    return asyncio.run(daemon.control("status"))


def _pages(few: DaemonProcess, many: DaemonProcess, sizes: Sizes) -> Figure:
    with closing(Line(few.control_socket, _PAGE)) as floor, closing(Line(many.control_socket, _PAGE)) as line:
        pairs = interleaved(sizes.pages, line.batch, floor.batch)
    name = f"scale: aleph_list_my_vms, a page of {sizes.leases} leases"
    return ratio(name, f"of {sizes.few}", pairs, MAX_PAGE)


def _idle(daemon: DaemonProcess, pid: int, sizes: Sizes) -> Figure:
    """All that runs by itself; a sweep is rarer than this looks, so it is measured apart and added in part."""
    before = cpu_s(pid)
    time.sleep(sizes.idle_s)
    rest = (cpu_s(pid) - before) / sizes.idle_s
    sweeps = []
    for _ in range(sizes.sweeps):
        before = cpu_s(pid)
        asyncio.run(daemon.control("sweep.run"))
        sweeps.append(cpu_s(pid) - before)
    percent = 100 * (rest + median(sweeps) / SWEEP_EVERY_S)
    detail = f"{100 * rest:.2f} % and a sweep of {median(sweeps):.2f} s of CPU every {SWEEP_EVERY_S:g} s"
    name = f"scale: idle with {sizes.leases} leases, health probes off"
    return Figure(name, percent, "% of a core", MAX_IDLE_PERCENT, detail, len(sweeps))


# ---------------------------------------------------------------------- health probes


def _health(net: DevnetProcess, daemon: DaemonProcess, sizes: Sizes) -> Figure:
    """What arrives at the CRNs and at the VMs' SSH doors, in the busiest stretch."""
    with _Door() as door:
        crowd.live_at(daemon, *door.server_address)
        daemon.environment["ALEPH_AGENT_HEALTH_INTERVAL_S"] = "2"
        begun = time.time()
        daemon.start()
        deadline = time.monotonic() + ANSWER_S
        while not (lists := _lists(net, begun)) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(sizes.health_s)
        daemon.kill()
        daemon.environment["ALEPH_AGENT_HEALTH_INTERVAL_S"] = "off"
        lists = _lists(net, begun)
    times = sorted([*door.knocks, *lists])
    window = min(_WINDOW_S, sizes.health_s)
    most = max((sum(at <= other < at + window for other in times) for at in times), default=0)
    detail = f"{len(lists)} lists of CRNs and {len(door.knocks)} knocks at SSH; the most in {window:g} s"
    name, limit = "scale: health probes, connections", 1.1 * CONNECTIONS_PER_S
    return Figure(name, most / window, "per s", limit, detail, len(times))


def _lists(net: DevnetProcess, since: float) -> list[float]:
    """When CRNs were asked what they run."""
    asked = (request for request in net.requests() if "executions/list" in request["path"])
    return [request["time"] for request in asked if request["time"] >= since]


class _Door(socketserver.ThreadingTCPServer):
    """Greets like SSH, and remembers when somebody came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Greeting)
        self.knocks: list[float] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Greeting(socketserver.BaseRequestHandler):
    server: _Door

    def handle(self) -> None:
        self.server.knocks.append(time.time())
        self.request.sendall(b"SSH-2.0-bench\r\n")


# ---------------------------------------------------------------------- while leases end


def ends(net: DevnetProcess, daemon: DaemonProcess, sizes: Sizes) -> Iterator[Figure]:
    """One life: an overdue lease, one that ends just after the start, many that end one by one, many at once."""
    overdue, soon, *others = crowd.oldest(daemon, 2 + sizes.spread + sizes.mass)
    spread, mass = others[: sizes.spread], others[sizes.spread :]
    start = datetime.now(UTC)
    first, rest = start + timedelta(seconds=sizes.warm_s), timedelta(seconds=sizes.rest_s)
    step = timedelta(seconds=sizes.spread_s / len(spread))
    ends = {overdue: start, soon: start + timedelta(seconds=MAX_ARMED_S)}
    ends |= {item_hash: first + n * step for n, item_hash in enumerate(spread)}
    at_once = max(ends.values()) + 3 * rest
    crowd.end_at(daemon, ends | dict.fromkeys(mass, at_once))
    spawned = datetime.now(UTC)
    daemon.spawn()
    _sleep_until(max(ends.values()) + rest)
    late = crowd.lateness(daemon, [overdue, soon, *spread])
    armed = (late[overdue] or PATIENCE_S) - (spawned - start).total_seconds()
    yield amount("scale: spawn to overdue leases ordered and alarms armed", "s", [armed], MAX_ARMED_S)
    name = f"scale: lateness of a teardown's start, {sizes.leases} pending, 99 % within"
    yield worst(name, "s", _known(late, [soon, *spread]), MAX_LATE_S)
    yield from _mass(net, daemon, mass, at_once, sizes)
    daemon.kill()
    net.clear_faults()


def _mass(
    net: DevnetProcess, daemon: DaemonProcess, mass: Sequence[str], at: datetime, sizes: Sizes
) -> Iterator[Figure]:
    with closing(Line(daemon.control_socket, question("ping"))) as line:
        idle = _pings(line, lambda: datetime.now(UTC) >= at - timedelta(seconds=sizes.rest_s))
        _strike(net, sizes)
        _sleep_until(at)
        look = _Look(net, mass)
        busy = _pings(line, look.done)
    took = look.last - at.timestamp()
    floor = len(mass) * CCN_S / AT_ONCE
    detail = (
        f"{took:.1f} s against {floor:.1f} s: {len(mass)} × {CCN_S:g} s / {AT_ONCE}, {DEAD:.0%} of CRNs dead"
    )
    yield Figure(
        f"scale: {len(mass)} leases end at once, all forgotten", took / floor, "×", MAX_MASS, detail, 1
    )
    late = _known(crowd.lateness(daemon, mass), mass)
    yield worst("scale: lateness of their teardowns' start, 99 % within", "s", late, MAX_LATE_S)
    detail = f"{median(busy) * 1e3:.2f} ms against {median(idle) * 1e3:.2f} ms before"
    yield Figure("scale: ping meanwhile", median(busy) / median(idle), "×", MAX_PING, detail, len(busy))


def _strike(net: DevnetProcess, sizes: Sizes) -> None:
    """A slow CCN; of the dead CRNs every other one refuses connections, the rest never answer."""
    net.fault({"latency_s": CCN_S}, node="ccn")
    for number, crn in enumerate(net.crns[: max(1, round(sizes.crns * DEAD))]):
        if number % 2:
            net.crn_down(crn["hash"])
        else:
            net.fault({"latency_s": 3600}, node=crn["hash"])


class _Look:
    """Whether the network has ended the billing of all; asked once a second."""

    def __init__(self, net: DevnetProcess, mass: Sequence[str]) -> None:
        self._net, self._mass = net, mass
        self._next, self._deadline = 0.0, time.monotonic() + PATIENCE_S
        self.last = 0.0
        """When the last one was forgotten; one that is not is taken to be now."""

    def done(self) -> bool:
        """Also when it takes for ever."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + 1
        ended = crowd.charged_until(self._net, self._mass)
        self.last = max(time.time() if at is None else at for at in ended.values())
        return None not in ended.values() or now > self._deadline


def _known(late: dict[str, float | None], item_hashes: Sequence[str]) -> list[float]:
    """What has not begun counts as late beyond every limit."""
    found = (late[item_hash] for item_hash in item_hashes)
    return [PATIENCE_S if seconds is None else seconds for seconds in found]


def _pings(line: Line, done: Callable[[], bool]) -> list[float]:
    """Round trips, a few at a time, until it is done."""
    took = []
    while not done():
        start = time.perf_counter()
        line.ask()
        took.append(time.perf_counter() - start)
        time.sleep(_PING_EVERY_S)
    return took


def _sleep_until(at: datetime) -> None:
    time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))
