"""The daemon as the system manager runs it, with the accounts around it: inside the harness, as root."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from aleph_agentd.control import units
from support.daemon import RICH_UNITS, write_ssh_key
from support.devnet import DevnetProcess
from support.service import SERVICE, SOCKET, Service

AGENT, OWNER, STRANGER = "alagent", "alowner", "alstranger"
"""Accounts in aleph-agents, in aleph-owners, and in neither."""
CONTROL_SOCKET_UNIT = "aleph-agentd-control.socket"
CREDENTIAL = Path("/run/credentials", SERVICE, units.CREDENTIAL)
SAFE_PATH = "/usr/local/bin:/usr/bin:/bin"
TESTS = Path(__file__).parents[1]


def as_user(name: str) -> list[str]:
    """What in front of a command makes it that account's own."""
    return ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", "--inh-caps=-all"]


class SystemService(Service):
    """One installation for the whole machine, with a sealed key where systemd-creds can seal."""

    kind: units.Kind = "system"
    options: tuple[str, ...] = ()
    agent = tuple(as_user(AGENT))

    def __init__(self, net: DevnetProcess) -> None:
        super().__init__(net)
        self.unit_folder = Path("/etc/systemd/system")
        self.runtime, self.state = Path("/run/aleph-agentd"), Path("/var/lib/aleph-agentd")
        self.config = Path("/etc/aleph-agentd")
        self.ssh_key = self.config / "owner"

    def prepare(self) -> None:
        """A funded key, sealed; an SSH key; and the accounts, as `aleph-agentctl install --system` makes them."""
        self.net.credits(RICH_UNITS, address=self.address)
        for group in (units.AGENTS, units.OWNERS):
            _run("groupadd", "--system", "--force", group)
        _run("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/", units.USER)
        for name, groups in ((AGENT, units.AGENTS), (OWNER, units.OWNERS), (STRANGER, "")):
            _run("useradd", "--create-home", "--user-group", "--groups", groups, name)
        self.config.mkdir(mode=0o755, exist_ok=True)
        write_ssh_key(self.ssh_key)
        units.ENCRYPTED_STORE.mkdir(mode=0o700, exist_ok=True)
        seal = ["systemd-creds", "encrypt", "--with-key=host", f"--name={units.CREDENTIAL}", "-"]
        _run(*seal, str(units.ENCRYPTED_STORE / units.CREDENTIAL), given=self.secret)

    def remove(self) -> None:
        """The accounts go whatever happened before."""
        self.systemctl("disable", "--now", SOCKET, check=False)
        for name in (AGENT, OWNER, STRANGER, units.USER):
            subprocess.run(["userdel", "--remove", "--force", name], capture_output=True)
        for group in (units.AGENTS, units.OWNERS):
            subprocess.run(["groupdel", group], capture_output=True)
        (units.ENCRYPTED_STORE / units.CREDENTIAL).unlink(missing_ok=True)

    def facts(self) -> units.Facts:
        """What the units say of this installation."""
        return units.Facts(
            python=Path(sys.executable), code=units.code_of_this_process(), settings=self.settings()
        )

    def settings(self) -> dict[str, str]:
        """devnet, and the owner's SSH key."""
        public = self.ssh_key.with_suffix(".pub")
        return super().settings() | {"ALEPH_AGENT_SSH_PUBKEY_PATH": str(public)}

    def shim_environment(self) -> dict[str, str]:
        """An agent's own environment: where the daemon listens is not told."""
        return {"HOME": f"/home/{AGENT}", "PATH": SAFE_PATH, "ALEPH_AGENT_AUTOSTART": "0"}

    def run_as(
        self, name: str, *words: str, given: bytes = b"", **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        """A command of that account; `root` is one, too."""
        command = [*(as_user(name) if name != "root" else ()), *words]
        fixed = {"HOME": f"/home/{name}", "PATH": f"{SAFE_PATH}:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
        return subprocess.run(
            command, input=given, capture_output=True, cwd="/", env=fixed | environment, timeout=90
        )

    def tool(self, name: str, program: str, *words: str, **environment: str) -> tuple[int, str]:
        """`aleph-agentctl` or `aleph-agentd` of that account: the exit code and all that it said."""
        path = str(Path(sys.executable).with_name(program))
        done = self.run_as(name, path, *words, **environment)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def control(self, *arguments: str) -> str:
        """`aleph-agentctl`, as the owner."""
        code, said = self.tool(OWNER, "aleph-agentctl", *arguments)
        assert code == 0, said
        return said

    def thief(self, name: str, *folders: Path) -> dict[str, str]:
        """What that account finds of the key."""
        program = [sys.executable, "-I", str(TESTS / "systemd/thief.py"), str(self.pid), *map(str, folders)]
        done = self.run_as(name, *program, given=self.secret.hex().encode() + b"\n")
        assert done.returncode == 0, done.stderr.decode()
        found: dict[str, str] = json.loads(done.stdout)
        return found

    def destroy_all(self) -> None:
        """Nothing is left for the next test to count."""
        for item_hash in self.billed():
            self.control("destroy", item_hash, "--yes")


def can_seal() -> bool:
    """Whether systemd here has credentials that are sealed."""
    return any(Path(folder, "systemd-creds").exists() for folder in os.get_exec_path())


def _run(*words: str, given: bytes = b"") -> Any:
    done = subprocess.run(words, input=given, capture_output=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.decode()}"
