"""A devnet of one's own: `aleph-devnet run` as a subprocess, with its levers as methods.

    with DevnetProcess(tmp_path) as net:
        net.advance(3600)
        net.state()["balances"]

Every method that talks to it blocks; in async tests use `await net.call(net.advance, 3600)`.
"""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

READY_S = 30.0
STOP_S = 10.0
ANSWER_S = 30.0


class DevnetProcess:
    """One local network. `options` are those of `aleph-devnet run`: `crns=5`, `boot_seconds=0`, ..."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = Path(folder)
        self.options = {"port": 0, "boot_seconds": 0.2, **options}
        self.facts: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait until it is ready."""
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in self.options.items()]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "stderr.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "aleph_devnet", "run", f"--dir={self.folder}", *flags],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.facts = json.loads(self._first_line())
        return self

    def _first_line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline, line = time.monotonic() + READY_S, b""
        while not line.endswith(b"\n"):
            left = max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([self._process.stdout], [], [], left)
            piece = os.read(self._process.stdout.fileno(), 65_536) if readable else b""
            if not piece:
                self.kill()
                raise RuntimeError(f"devnet did not start: {self.stderr()}")
            line += piece
        return line

    def stop(self) -> int:
        """End it in good order (SIGTERM); returns its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it at once (SIGKILL), as a power cut would."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()

    def restart(self, *, kill: bool = False) -> Self:
        """Stop (or kill) it and start it again on the same directory; its URLs stay the same."""
        if kill:
            self.kill()
        else:
            self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # What it is

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self.facts["pid"])

    @property
    def api_host(self) -> str:
        """The CCN."""
        return str(self.facts["api_host"])

    @property
    def crn_list_url(self) -> str:
        """The CRN list."""
        return str(self.facts["crn_list_url"])

    @property
    def aggregate_address(self) -> str:
        """Who publishes prices."""
        return str(self.facts["aggregate_address"])

    @property
    def crns(self) -> list[dict[str, str]]:
        """Each CRN's hash, name and url."""
        return list(self.facts["crns"])

    @property
    def clock_file(self) -> Path:
        """The file that a process under libfaketime shares the clock through."""
        return Path(self.facts["clock_file"])

    def account(self, role: str = "funded") -> dict[str, Any]:
        """An account: funded, unfunded, human (pays), agent (signs for human) or network (prices)."""
        return next(account for account in self.facts["accounts"] if account["role"] == role)

    def key(self, role: str = "funded") -> bytes:
        """An account's private key."""
        return Path(self.account(role)["key_file"]).read_bytes()

    def environment(self, role: str = "funded") -> dict[str, str]:
        """The `ALEPH_AGENT_*` that point a daemon at it."""
        return {
            "ALEPH_AGENT_NETWORK": "devnet",
            "ALEPH_AGENT_API_HOST": self.api_host,
            "ALEPH_AGENT_CRN_LIST_URL": self.crn_list_url,
            "ALEPH_AGENT_AGGREGATE_ADDRESS": self.aggregate_address,
            "ALEPH_AGENT_PRIVATE_KEY_PATH": self.account(role)["key_file"],
        }

    def stderr(self) -> str:
        """What it complained about."""
        return (self.folder / "stderr.log").read_text()

    # Truth and levers

    def state(self) -> dict[str, Any]:
        """The truth."""
        return dict(self._ask("GET", "/devnet/state"))

    def message(self, item_hash: str) -> dict[str, Any] | None:
        """The truth about one message."""
        found = (m for m in self.state()["messages"] if m["item_hash"] == item_hash)
        return next(found, None)

    def instances(self, status: str | None = None) -> list[dict[str, Any]]:
        """The INSTANCE messages, all or those of one status."""
        found = (m for m in self.state()["messages"] if m["type"] == "INSTANCE")
        return [m for m in found if status in (None, m["status"])]

    def running(self) -> set[str]:
        """The VMs that some CRN runs."""
        return {item_hash for crn in self.state()["crns"].values() for item_hash in crn["vms"]}

    def requests(self) -> list[dict[str, Any]]:
        """The last 10,000 requests: time, node, method, path, status (0 = connection dropped)."""
        return list(self._ask("GET", "/devnet/requests"))

    def advance(self, seconds: float) -> float:
        """Move the clock, and do what became due; returns the new time."""
        return float(self._ask("POST", "/devnet/clock", {"advance_s": seconds})["now"])

    def set_clock(self, offset_s: float) -> float:
        """Set how far its clock is ahead of the true time; returns the new time."""
        return float(self._ask("POST", "/devnet/clock", {"set_offset_s": offset_s})["now"])

    def credits(self, units: int, role: str = "funded", *, address: str | None = None) -> int:
        """Pay credits in (negative: take them away); returns the new balance."""
        payer = address or self.account(role)["address"]
        return int(self._ask("POST", "/devnet/credits", {"address": payer, "units": units})["units"])

    def fault(
        self,
        effect: dict[str, Any],
        *,
        node: str = "*",
        method: str = "*",
        path: str = "*",
        count: int | None = None,
        probability: float = 1,
    ) -> dict[str, Any]:
        """Add a fault, for example `fault({"drop": "after"}, path="/api/v0/messages", count=1)`."""
        match = {"node": node, "method": method, "path": path}
        body = {"match": match, "effect": effect, "count": count, "probability": probability}
        return dict(self._ask("POST", "/devnet/faults", body))

    def faults(self) -> list[dict[str, Any]]:
        """The active faults, with their hits."""
        return list(self._ask("GET", "/devnet/faults"))

    def clear_faults(self) -> None:
        """Remove every fault, bring every CRN up and set its clock right."""
        self._ask("DELETE", "/devnet/faults")

    def crn_down(self, node_hash: str, *, down: bool = True) -> None:
        """Take a CRN off the network, or back on."""
        self._ask("POST", "/devnet/faults", {"crn": node_hash, "down": down})

    def crn_clock_skew(self, node_hash: str, seconds: float) -> None:
        """Set a CRN's clock wrong."""
        self._ask("POST", "/devnet/faults", {"crn": node_hash, "clock_skew_s": seconds})

    def set_status(self, item_hash: str, status: str) -> None:
        """Put a VM's message into removing, removed or processed, as the nodes' cron jobs do."""
        self._ask("POST", f"/devnet/messages/{item_hash}", {"status": status})

    def replay(self, item_hash: str) -> str:
        """Process a rejected message again, as another CCN would; returns its status."""
        return str(self._ask("POST", "/devnet/replay", {"item_hash": item_hash})["status"])

    def add_image(self, item_hash: str) -> None:
        """Make an OS image known to the CCN."""
        self._ask("POST", "/devnet/images", {"item_hash": item_hash})

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api_host + path, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    async def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run one of the methods above without blocking the event loop."""
        return await asyncio.to_thread(method, *args, **kwargs)
