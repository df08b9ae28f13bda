"""`aleph-devnet`: run a local Aleph network, or print the environment that points at one."""

import argparse
import asyncio
import fcntl
import json
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    return int(options.run(options))


def default_dir() -> Path:
    """Where a network lives unless told otherwise."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "aleph-devnet"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aleph-devnet", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="serve the network until SIGTERM; prints one JSON line when ready")
    run.set_defaults(run=_run)
    run.add_argument("--host", default="127.0.0.1", help="address of the CCN and the CRN list")
    run.add_argument("--port", type=int, default=4024, help="port of the CCN; 0 lets the system choose")
    run.add_argument("--crns", type=int, default=3, help="number of CRNs, each on its own 127.x address")
    run.add_argument("--boot-seconds", type=float, default=1.0, help="how long a VM boots")
    run.add_argument("--time-scale", type=float, default=1.0, help="how much faster than real time it runs")
    run.add_argument("--credits", type=int, default=100_000_000, help="network units of each funded account")
    run.add_argument("--crn-memory-gib", type=int, default=256, help="memory of a newly made CRN")
    run.add_argument("--tick-seconds", type=float, default=0.05, help="how often it looks what is due")
    run.add_argument("--no-ssh", action="store_true", help="VMs without an SSH server behind their port")
    run.add_argument(
        "--guest",
        choices=("shell", "bwrap"),
        default="shell",
        help="what runs in VMs: a few commands in memory, or any in a bubblewrap without network",
    )
    run.add_argument(
        "--guest-tools",
        type=Path,
        metavar="DIR",
        help="a toolchain that bwrap guests may read: DIR/bin is on PATH",
    )
    env = commands.add_parser("env", help="print `export ALEPH_AGENT_…` lines for a shell's eval")
    env.set_defaults(run=_env)
    env.add_argument("--wait", type=float, default=10, help="seconds for a network that is about to start")
    for command in (run, env):
        command.add_argument("--dir", type=Path, default=default_dir(), help="where the network is kept")
    return parser


def _run(options: argparse.Namespace) -> int:
    folder: Path = options.dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"aleph-devnet: another one runs in {folder}", file=sys.stderr)
            return 1
        try:
            asyncio.run(_serve(options, folder))
        except OSError as error:
            print(f"aleph-devnet: {error}", file=sys.stderr)
            return 1
    return 0


async def _serve(options: argparse.Namespace, folder: Path) -> None:
    # Imported here: `aleph-devnet env` must be quick.
    from aleph_devnet.app import Devnet
    from aleph_devnet.network import Network, Options
    from aleph_devnet.sandbox import trouble

    if options.guest == "bwrap" and (why := await asyncio.to_thread(trouble)):
        raise OSError(f"--guest bwrap: {why}")
    if options.guest_tools and not options.guest_tools.is_dir():
        raise NotADirectoryError(f"--guest-tools: there is no folder {options.guest_tools}")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    network = Network(
        Options(
            folder=folder,
            host=options.host,
            port=options.port,
            crns=options.crns,
            boot_seconds=options.boot_seconds,
            time_scale=options.time_scale,
            credits=options.credits,
            crn_memory_gib=options.crn_memory_gib,
            tick_s=options.tick_seconds,
            ssh=not options.no_ssh,
            guest=options.guest,
            guest_tools=options.guest_tools and options.guest_tools.absolute(),
        )
    )
    devnet = Devnet(network)
    try:
        print(json.dumps(await devnet.start()), flush=True)
        await devnet.run_until(stop)
    finally:
        await devnet.stop()


def _env(options: argparse.Namespace) -> int:
    """Waits for one that was started a moment ago: `aleph-devnet run & eval "$(aleph-devnet env)"`."""
    deadline = time.monotonic() + options.wait
    while (facts := _facts(options.dir)) is None:
        if time.monotonic() > deadline:
            start = f"aleph-devnet run --dir {shlex.quote(str(options.dir))}"
            print(f"aleph-devnet: no network in {options.dir}; start one: {start}", file=sys.stderr)
            return 1
        time.sleep(0.1)
    # An inventory belongs to one key: the one that a daemon has already is not for this network.
    inventory = {"ALEPH_AGENT_INVENTORY_PATH": str(options.dir.absolute() / "inventory.db")}
    for name, value in (environment(facts) | inventory).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _facts(folder: Path) -> dict[str, Any] | None:
    """What a network that answers says of itself; an earlier one may have left its file behind."""
    try:
        facts: dict[str, Any] = json.loads((folder / "devnet.json").read_text())
        address = urlsplit(facts["api_host"])
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=5):
            return facts
    except (OSError, ValueError, KeyError):
        return None


def environment(facts: dict[str, Any]) -> dict[str, str]:
    """The settings that point a daemon at this network, with the funded account's key."""
    funded = next(account for account in facts["accounts"] if account["role"] == "funded")
    return {
        "ALEPH_AGENT_NETWORK": "devnet",
        "ALEPH_AGENT_API_HOST": facts["api_host"],
        "ALEPH_AGENT_CRN_LIST_URL": facts["crn_list_url"],
        "ALEPH_AGENT_AGGREGATE_ADDRESS": facts["aggregate_address"],
        "ALEPH_AGENT_PRIVATE_KEY_PATH": funded["key_file"],
    }


if __name__ == "__main__":
    sys.exit(main())
