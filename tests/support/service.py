"""The daemon as systemd runs it: units rendered and started inside the harness of tests/systemd.

service = Service(net, Path("/home/sdtest"), user="sdtest")
service.install("user")
service.systemctl("start", "aleph-agentd.socket")
"""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eth_account import Account

from aleph_agentd.control import units
from support.daemon import BILLED, RICH_UNITS, write_ssh_key
from support.devnet import DevnetProcess

INSIDE = "ALEPH_TESTS_INSIDE_SYSTEMD"
"""Set by tests/systemd/run: what runs there may start and stop units."""
PROBE = Path(__file__).parents[1] / "systemd/probe.py"
WITHIN_S = 40.0
POLL_S = 0.05
SERVICE, SOCKET, TIMER = "aleph-agentd.service", "aleph-agentd.socket", "aleph-agentd.timer"


class Service:
    """One installation: its units, its key, and what systemd says of it."""

    kind: units.Kind = "user"
    options: tuple[str, ...] = ("--user",)
    agent: tuple[str, ...] = ()
    """What in front of a command makes it the agent's, where that is another account."""

    def __init__(self, net: DevnetProcess) -> None:
        self.net = net
        self.home = Path.home()
        self.unit_folder = self.home / ".config/systemd/user"
        self.runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "/run")) / "aleph-agentd"
        self.state = self.home / ".local/state/aleph-agentd"
        self.key_file = self.home / ".aleph-im/private-keys/ethereum.key"
        self.ssh_key = self.home / ".ssh/id_ed25519"
        self.secret = secrets.token_bytes(32)
        self.address = str(Account.from_key(self.secret).address)

    # ------------------------------------------------------------------ installing it

    def prepare(self) -> None:
        """What is there before an installation: a funded key, an SSH key."""
        self.net.credits(RICH_UNITS, address=self.address)
        for folder in (self.key_file.parent, self.ssh_key.parent, self.state, self.unit_folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.key_file.write_bytes(self.secret)
        self.key_file.chmod(0o600)
        write_ssh_key(self.ssh_key)

    def facts(self) -> units.Facts:
        """What the units say of this installation."""
        config = self.home / ".config/aleph-agentd"
        config.mkdir(mode=0o700, parents=True, exist_ok=True)
        return units.Facts(
            python=Path(sys.executable),
            code=units.code_of_this_process(),
            state=[self.state],
            readable=[self.key_file.parent, self.ssh_key.with_suffix(".pub"), config],
            settings=self.settings(),
            state_home=self.home / ".local/state",
            config_home=self.home / ".config",
        )

    def settings(self) -> dict[str, str]:
        """`ALEPH_AGENT_*`: devnet, and room for a few VMs."""
        network = {name: value for name, value in self.net.environment().items() if "KEY_PATH" not in name}
        return network | {"ALEPH_AGENT_MAX_CONCURRENT_VMS": "8"}

    def install(self, *, sandbox: bool = True) -> None:
        """Write the units, and let systemd read them."""
        for name, text in units.render(self.kind, self.facts(), sandbox=sandbox).items():
            (self.unit_folder / name).write_text(text)
        self.systemctl("daemon-reload")

    def drop_in(self, unit: str, text: str) -> None:
        """Change a unit as `systemctl edit` does; an empty text takes the change back."""
        path = self.unit_folder / f"{unit}.d" / "test.conf"
        path.parent.mkdir(exist_ok=True)
        if text:
            path.write_text(text)
        else:
            path.unlink(missing_ok=True)
        self.systemctl("daemon-reload")

    def probed(self, home_file: Path, tmp_file: Path) -> dict[str, str]:
        """Restart it with the probe beside it, in the same sandbox: what each forbidden thing comes to there."""
        program, result = self.state / "probe.py", self.state / "probe.json"
        program.write_text(PROBE.read_text())
        program.chmod(0o644)
        result.unlink(missing_ok=True)
        words = f"{sys.executable} -I {program} {result} {home_file} {tmp_file}"
        self.drop_in(SERVICE, f"[Service]\nExecStartPost={words}\n")
        try:
            self.systemctl("restart", SERVICE)
        finally:
            self.drop_in(SERVICE, "")
        found: dict[str, str] = json.loads(result.read_text())
        return found

    # ------------------------------------------------------------------ asking systemd

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """What it printed; a failure of one that is checked shows the journal."""
        done = subprocess.run(
            ["systemctl", *self.options, "--no-pager", *arguments], capture_output=True, text=True
        )
        if check and done.returncode:
            raise AssertionError(f"systemctl {' '.join(arguments)}: {done.stderr}\n{self.journal()}")
        return done.stdout.strip()

    def show(self, name: str, unit: str = SERVICE) -> str:
        """One property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit)

    @property
    def active(self) -> str:
        """`active`, `inactive`, `failed`, …"""
        return self.show("ActiveState")

    @property
    def pid(self) -> int:
        """The daemon's process; 0 without one."""
        return int(self.show("MainPID"))

    def journal(self) -> str:
        """What the service has said, and what systemd said of it."""
        command = ["journalctl", *self.options, "--no-pager", "-o", "short-monotonic", "-n", "200"]
        return subprocess.run([*command, "-u", SERVICE], capture_output=True, text=True).stdout

    def eventually(self, look: Callable[[], Any], what: str, within_s: float = WITHIN_S) -> Any:
        """The first true result of `look`, or a failure with the journal."""
        deadline = time.monotonic() + within_s
        while not (found := look()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within_s:g} s: {what}\n{self.journal()}")
            time.sleep(POLL_S)
        return found

    # ------------------------------------------------------------------ using it

    def shim_environment(self) -> dict[str, str]:
        """For `support.agent.session`: an agent's own environment, which starts nothing itself."""
        return {**os.environ, "ALEPH_AGENT_AUTOSTART": "0", "XDG_CACHE_HOME": str(self.home / ".cache")}

    def control(self, *arguments: str) -> str:
        """`aleph-agentctl`, as the user."""
        command = [str(Path(sys.executable).with_name("aleph-agentctl")), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def billed(self) -> list[str]:
        """The VMs of its key that the network bills."""
        found = self.net.instances()
        return [m["item_hash"] for m in found if m["sender"] == self.address and m["status"] in BILLED]

    def destroy_all(self) -> None:
        """Nothing is left for the next test to count."""
        for item_hash in self.billed():
            self.control("destroy", item_hash, "--yes")
