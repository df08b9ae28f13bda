"""A bare account in the harness, a local network, and `aleph-agentctl` as its owner runs it there."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemon import RICH_UNITS
from support.devnet import DevnetProcess
from support.service import Service

BIN = Path(sys.executable).parent
LIMIT_S = 90
HERE = Path(__file__).parent

MASKS = (
    (str(BIN), "BIN"),
    (r"/run/user/\d+", "/run/user/UID"),
    (r"0x[0-9a-fA-F]{40}", "ADDRESS"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"pid \d+", "pid PID"),
    (r"\d+ ms", "MS ms"),
    (r"\d+ MiB", "MIB MiB"),
    (r"\d\d:\d\d UTC", "HH:MM UTC"),
    (r"\d+ s from", "S s from"),
    (r"\d+ CRNs?", "N CRNs"),
    (r"[\d,.]+ cr", "CR cr"),
    (r"US\$[\d,.]+", "US$USD"),
    (r"[\d,.]+ credits", "CR credits"),
    (r"\d+ hours", "H hours"),
    (r"\d+\.\d+\.\d+(\.dev\d+)? answers", "VERSION answers"),
)
"""What differs between two runs of the same story."""


def fixes(findings: dict[str, dict[str, Any]]) -> list[str]:
    """Each that was printed, once, from top to bottom."""
    return list(dict.fromkeys(one["fix"] for one in findings.values() if one["fix"]))


class Owner:
    """The account: its files, its shell, its `aleph-agentctl`. `environ` is what its shell exports."""

    def __init__(self, net: DevnetProcess) -> None:
        self.net, self.service = net, Service(net)
        self.home = self.service.home
        self.environ: dict[str, str] = {}
        self.config = self.home / ".config/aleph-agentd/config.toml"
        self.said = self.errors = ""
        self.code = 0

    def names(self) -> dict[str, str]:
        """What the commands of a fault call the files."""
        service = self.service
        return {
            "KEY": str(service.key_file),
            "SSH": str(service.ssh_key),
            "DB": str(service.state / "inventory.db"),
            "RUN": str(service.runtime),
            "CONFIG": str(self.config),
            "UNITS": str(service.unit_folder),
            "PYTHON": sys.executable,
        }

    def shell(self, text: str) -> int:
        """What a person types or pastes."""
        base = {name: value for name, value in os.environ.items() if not name.startswith("ALEPH_")}
        base["PATH"] = f"{BIN}:{base['PATH']}"
        done = subprocess.run(
            ["sh", "-c", text],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            stdin=subprocess.DEVNULL,
            env={**base, **self.names(), **self.environ},
            cwd=self.home,
        )
        self.code, self.said, self.errors = done.returncode, done.stdout, done.stderr
        return self.code

    def ctl(self, words: str) -> int:
        """One verb."""
        return self.shell(f"aleph-agentctl {words}")

    def findings(self) -> dict[str, dict[str, Any]]:
        """What the doctor says, by check, in its order."""
        self.ctl("doctor --json")
        return {one["check"]: one for one in json.loads(self.said)["findings"]}

    def do_what_was_printed(self, findings: dict[str, dict[str, Any]]) -> list[str]:
        """From top to bottom, each fix once and exactly as it was printed; what failed, with what it said."""
        return [f"{fix}: {self.said}{self.errors}" for fix in fixes(findings) if self.shell(fix)]

    def fund(self) -> None:
        """A person buys credits."""
        self.ctl("key show --json")
        self.net.credits(RICH_UNITS, address=json.loads(self.said)["address"])

    def tell(self, text: str) -> str:
        """A command and what it said, without what differs from run to run."""
        self.shell(text)
        told = f"$ {text}\n{self.said}{self.errors}".replace(str(self.home), "~")
        for pattern, name in MASKS:
            told = re.sub(pattern, name, told)
        return told


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    """The account as it is before anybody thought of aleph-agentd; its shell points at the local network."""
    with DevnetProcess(tmp_path_factory.mktemp("net"), crns=1) as net:
        owner = Owner(net)
        owner.environ = {name: value for name, value in net.environment().items() if "KEY_PATH" not in name}
        yield owner
