"""Starting a daemon on demand, in an environment that the agent's own cannot reach; imported only then.

The environment and the working directory of a shim belong to the agent (a hostile `.mcp.json` can set them),
so nothing of them may reach a process that holds the owner's key.
"""

import os
import pwd
import sys
from shlex import quote

from aleph_agent_mcp import link

SAFE_PATH = "/usr/local/bin:/usr/bin:/bin"
UNIT = "aleph-agentd.socket"
UNIT_FOLDERS = ("/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
BAD_CONFIGURATION = 78


class Starter:
    """Tries to bring a daemon up, at most once per outage, and says what came of it."""

    def __init__(self) -> None:
        try:
            account = pwd.getpwuid(os.getuid())
            self._home, self._name = account.pw_dir, account.pw_name
        except KeyError:  # a container's invented uid
            self._home = self._name = ""
        self._installed = any(os.path.exists(f"{folder}/{UNIT}") for folder in self._unit_folders())
        self.command = "systemctl --user start aleph-agentd" if self._installed else "aleph-agentd run"
        self.why = "no daemon listens on its socket"
        self.hopeless = True
        self._child = 0
        self._by_systemd = False

    def begin(self) -> None:
        """Start a daemon if that is allowed and of use; `hopeless` says whether waiting for it makes sense."""
        forbidden = self._forbidden()
        self.hopeless = bool(forbidden)
        if forbidden:
            self.why = forbidden
        elif self._installed:
            self._by_systemd = True
            self._spawn(["systemctl", "--user", "start", UNIT])
        else:
            self._run_daemon()

    def check(self) -> None:
        """Take note of how the child process ended, if it has."""
        if not self._child:
            return
        try:
            ended, status = os.waitpid(self._child, os.WNOHANG)
        except OSError:
            ended, status = self._child, 0
        if not ended:
            return
        self._child = 0
        code = os.waitstatus_to_exitcode(status)
        if self._by_systemd:
            self._by_systemd = False
            if code:  # a unit file without a manager, as in a container
                self._run_daemon()
        elif code == BAD_CONFIGURATION:
            # Any other end may be that of the loser of a race between several shims.
            self.why, self.hopeless = "it was started and refused its configuration", True

    def _run_daemon(self) -> None:
        self._spawn([sys.executable, "-I", "-m", "aleph_agentd", "run"])
        self.why = "it was started and does not listen yet"

    def _forbidden(self) -> str:
        if os.environ.get("ALEPH_AGENT_AUTOSTART") == "0":
            return "ALEPH_AGENT_AUTOSTART=0 forbids starting it"
        if not self._home:
            return "this uid has no account, so it cannot be started from here"
        if link.default_socket() not in link.socket_paths():
            self.command = (
                f"ALEPH_AGENT_RUNTIME_DIR={quote(os.environ['ALEPH_AGENT_RUNTIME_DIR'])} aleph-agentd run"
            )
            return "none listens in ALEPH_AGENT_RUNTIME_DIR, and one started from here would listen elsewhere"
        return ""

    def _unit_folders(self) -> tuple[str, ...]:
        return (f"{self._home}/.config/systemd/user", *UNIT_FOLDERS)

    def _spawn(self, command: list[str]) -> None:
        child = os.fork()
        if child:
            self._child = child
            return
        try:
            _detach()
            os.execvpe(command[0], command, self.environment())  # noqa: S606 — a shell is what we avoid
        except OSError:
            pass
        finally:
            os._exit(127)

    def environment(self) -> dict[str, str]:
        """All that a daemon started from here is told."""
        fixed = {
            "HOME": self._home,
            "PATH": SAFE_PATH,
            "LANG": "C.UTF-8",
            "USER": self._name,
            "LOGNAME": self._name,
        }
        session = f"{link.RUN_USER}/{os.getuid()}"
        try:
            if os.lstat(session).st_uid == os.getuid() and not os.path.islink(session):
                fixed["XDG_RUNTIME_DIR"] = session
        except OSError:
            pass
        return fixed


def _detach() -> None:
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.closerange(3, 1024)
