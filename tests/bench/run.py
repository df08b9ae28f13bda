"""`make bench`: how fast it is, each figure as a ratio to a floor that is measured in the same run.

    python tests/bench/run.py [--only shim|rpc|start|scale]… [--rounds N] [--quick] [--no-limits] [--json]

Exits with 1 if a limit is missed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

if __name__ == "__main__":  # pytest's configuration does this for tests
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import daemon_start, round_trips, scale, shim_start
from bench.figures import Figure, table
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess

ROUNDS, QUICK_ROUNDS = 15, 3

Part = Callable[[DevnetProcess, int], list[Figure]]


@contextmanager
def warm_daemon(net: DevnetProcess) -> Iterator[DaemonProcess]:
    """A daemon that has loaded what it loads late, and has seen the network."""
    with DaemonProcess(net) as daemon:
        with closing(round_trips.Line(daemon.control_socket, round_trips.QUESTIONS["balance"][1])) as line:
            round_trips.checked(line.ask())
        yield daemon


def shim(net: DevnetProcess, rounds: int) -> list[Figure]:
    """Spawn to first answer, and memory."""
    with warm_daemon(net) as daemon:
        env = {**daemon.environment, "ALEPH_AGENT_AUTOSTART": "0"}
        return shim_start.measure(env, daemon.folder, rounds)


def rpc(net: DevnetProcess, rounds: int) -> list[Figure]:
    """Round trips."""
    with warm_daemon(net) as daemon:
        return round_trips.measure(daemon.control_socket, daemon.folder, rounds)


def start(net: DevnetProcess, rounds: int) -> list[Figure]:
    """To READY, and on to the first quote."""
    daemon = DaemonProcess(net)
    try:
        return daemon_start.measure(daemon, rounds)
    finally:
        daemon.close()


def crowded(net: DevnetProcess, rounds: int) -> list[Figure]:
    """Ten thousand leases, on a network of their own; few when it shall be quick."""
    sizes = scale.QUICK if rounds <= QUICK_ROUNDS else scale.FULL
    return list(scale.measure(net.folder / "scale", sizes))


PARTS: dict[str, Part] = {"shim": shim, "rpc": rpc, "start": start, "scale": crowded}


def run(parts: Sequence[str], rounds: int) -> Iterator[Figure]:
    """The figures of these parts, on one local network."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, DevnetProcess(Path(folder)) as net:
        for part in parts:
            yield from PARTS[part](net, rounds)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="How fast it is, as ratios to floors of the same run.")
    parser.add_argument("--only", action="append", choices=sorted(PARTS), help="one part (repeatable)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"per figure (default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds and no limits")
    parser.add_argument("--no-limits", action="store_true", help="only print: exit with 0")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, judge."""
    asked = arguments(given)
    rounds = QUICK_ROUNDS if asked.quick else max(1, asked.rounds)
    figures = list(run(asked.only or list(PARTS), rounds))
    ok = all(figure.ok for figure in figures)
    if asked.json:
        print(json.dumps({"ok": ok, "figures": [figure.as_json() for figure in figures]}, indent=2))
    else:
        print(table(figures))
        print("medians of n rounds; what is measured and its floor take turns")
    return 0 if ok or asked.quick or asked.no_limits else 1


if __name__ == "__main__":
    sys.exit(main())
