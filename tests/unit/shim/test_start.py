"""A daemon is started on demand, and nothing that an agent sets reaches it."""

import contextlib
import json
import os
import pwd
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

import aleph_agent_mcp

from .conftest import FakeDaemon, Shim
from .test_pipe import until

Launch = Callable[..., Shim]
Machine = tuple[Path, str]

# Stands for the real package: notes how it was started, then listens like a daemon that is ready.
STAND_IN = """
import json, os, sys, socket, pathlib, threading
here = pathlib.Path({home!r})
with (here / "starts").open("a") as log:
    log.write(json.dumps({{"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(), "flags": sys.flags.isolated,
        "session": os.getsid(0) == os.getpid(), "fds": os.listdir("/proc/self/fd"),
        "umask": os.umask(0o077)}}) + "\\n")
status = here / "status"
if status.exists():
    sys.exit(int(status.read_text()))
path = here / "user" / str(os.getuid()) / "aleph-agentd"
path.mkdir(parents=True, exist_ok=True)
listener = socket.socket(socket.AF_UNIX)
try:
    listener.bind(str(path / "agent.sock"))
except OSError:
    sys.exit(1)
(here / "pid").write_text(str(os.getpid()))  # the winner's alone: the losers of the race have left
listener.listen()
def serve(connection):
    connection.recv(65536)
    connection.sendall(bytes([0x94, 1, 1, 0xC0, 0xC0]))
    for line in connection.makefile("r"):
        connection.sendall(b'{{"jsonrpc":"2.0","id":1,"result":{{"by":"stand-in"}}}}\\n')
while True:
    threading.Thread(target=serve, args=listener.accept()[:1]).start()
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A home, an interpreter that has only the shim and the stand-in, and a patch that moves /run/user there."""
    venv.create(tmp_path / "venv", symlinks=True)
    [packages] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "shim.pth").write_text(str(Path(aleph_agent_mcp.__file__).parent.parent))
    (packages / "aleph_agentd").mkdir()
    (packages / "aleph_agentd" / "__init__.py").touch()
    (packages / "aleph_agentd" / "__main__.py").write_text(STAND_IN.format(home=str(tmp_path)))
    (tmp_path / "user" / str(os.getuid())).mkdir(parents=True)
    patch = (
        f"import sys; sys.executable = {str(tmp_path / 'venv' / 'bin' / 'python')!r}\n"
        f"import aleph_agent_mcp.link as l; l.RUN_USER = {str(tmp_path / 'user')!r}\n"
        "import aleph_agent_mcp.start as t; t.UNIT_FOLDERS = ()\n"
        f"t.UNIT = 'none-such.socket'; l.SYSTEM_SOCKET = {str(tmp_path / 'system.sock')!r}\n"
    )
    return tmp_path, patch


@pytest.fixture(autouse=True)
def reaped(tmp_path: Path) -> object:
    """Ends the stand-in that a test started."""
    yield
    if (tmp_path / "pid").exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 9)


def starts(home: Path) -> list[dict[str, object]]:
    log = home / "starts"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_a_daemon_is_started_in_a_fixed_environment(machine: Machine, launch: Launch) -> None:
    """Account, safe path and language: no setting, folder, descriptor or Python option of the agent's."""
    home, patch = machine
    evil = home / "evil"
    evil.mkdir()
    (evil / "aleph_agentd.py").write_text("raise SystemExit('hijacked')")
    shim = launch(
        patch,
        cwd=evil,
        ALEPH_AGENT_RUNTIME_DIR="",
        ALEPH_AGENT_HUMAN_ADDRESS="0xattacker",
        XDG_CONFIG_HOME=str(evil),
        PYTHONPATH=os.pathsep.join([str(evil), str(Path(aleph_agent_mcp.__file__).parent.parent)]),
        HOME=str(evil),
        LD_LIBRARY_PATH=str(evil),
        PATH=str(evil),
    )
    assert shim.ask("ping", 1)["result"] == {"by": "stand-in"}
    [start] = starts(home)
    account = pwd.getpwuid(os.getuid())
    assert start["env"] == {
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(home / "user" / str(os.getuid())),
    }
    assert (start["cwd"], start["flags"], start["session"], start["umask"]) == ("/", 1, True, 0o077)
    assert str(start["argv"][1:]) == "['run']"  # type: ignore[index]
    assert len(start["fds"]) <= 5  # type: ignore[arg-type]


def test_it_outlives_the_shim(machine: Machine, launch: Launch) -> None:
    """The VMs need it longer than the agent does."""
    home, patch = machine
    shim = launch(patch, ALEPH_AGENT_RUNTIME_DIR="")
    shim.ask("ping", 1)
    shim.process.kill()
    shim.process.wait()
    os.kill(int((home / "pid").read_text()), 0)


def test_several_shims_at_once_do_no_harm(machine: Machine, launch: Launch) -> None:
    """The losers of the race wait for the winner's socket."""
    _, patch = machine
    shims = [launch(patch, ALEPH_AGENT_RUNTIME_DIR="") for _ in range(3)]
    for shim in shims:
        shim.send("ping", 1)
    assert [shim.next()["result"] for shim in shims] == [{"by": "stand-in"}] * 3


def test_a_daemon_that_refuses_its_configuration_is_reported(machine: Machine, launch: Launch) -> None:
    """Waiting for it would be of no use."""
    home, patch = machine
    (home / "status").write_text("78")
    shim = launch(
        patch + "import aleph_agent_mcp.session as s; s.START_SECONDS = 60", ALEPH_AGENT_RUNTIME_DIR=""
    )
    text = shim.ask("tools/call", 1, name="aleph_x")["result"]["content"][0]["text"]
    assert "refused its configuration" in text
    assert "aleph-agentd run" in text
    assert len(starts(home)) == 1


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"ALEPH_AGENT_AUTOSTART": "0"}, "ALEPH_AGENT_AUTOSTART=0"),
        ({"ALEPH_AGENT_RUNTIME_DIR": "/nowhere"}, "RUNTIME_DIR"),
    ],
)
def test_nothing_is_started_where_it_is_forbidden_or_of_no_use(
    machine: Machine, launch: Launch, setting: dict[str, str], reason: str
) -> None:
    """The answer says why, and what to do."""
    home, patch = machine
    shim = launch(
        patch + "import aleph_agent_mcp.session as s; s.UNAIDED_SECONDS = 0",
        **{"ALEPH_AGENT_RUNTIME_DIR": "", **setting},
    )
    assert reason in shim.ask("tools/call", 1, name="aleph_x")["result"]["content"][0]["text"]
    assert starts(home) == []


@pytest.mark.parametrize("works", [True, False])
def test_systemd_is_asked_first_where_the_unit_is_installed(
    machine: Machine, launch: Launch, works: bool
) -> None:
    """And the daemon started directly if it cannot help, as in a container."""
    home, patch = machine
    (home / "units").mkdir()
    (home / "units" / "none-such.socket").touch()
    systemctl = home / "systemctl"
    daemon = f"{home / 'venv' / 'bin' / 'python'} -I -m aleph_agentd run &" if works else "exit 1"
    systemctl.write_text(f'#!/bin/sh\necho "$@" > {home / "asked"}\n{daemon}\n')
    systemctl.chmod(0o755)
    more = f"t.UNIT_FOLDERS = ({str(home / 'units')!r},)\nt.SAFE_PATH = {str(home) + ':/usr/bin:/bin'!r}\n"
    shim = launch(patch + more, ALEPH_AGENT_RUNTIME_DIR="")
    assert shim.ask("ping", 1)["result"] == {"by": "stand-in"}
    assert (home / "asked").read_text() == "--user start none-such.socket\n"
    assert len(starts(home)) == 1


def test_an_idle_shim_does_not_bring_a_stopped_daemon_back(machine: Machine, launch: Launch) -> None:
    """Its owner stopped it; the next call is what asks for it again."""
    home, patch = machine
    daemon = FakeDaemon(home / "user" / str(os.getuid()) / "aleph-agentd" / "agent.sock").start()
    shim = launch(
        patch + "import aleph_agent_mcp.session as s; s.UNAIDED_SECONDS = 0", ALEPH_AGENT_RUNTIME_DIR=""
    )
    shim.ask("ping", 1)
    daemon.stop()
    assert "broke" in shim.process.stderr.readline().decode()  # type: ignore[union-attr]
    assert starts(home) == []
    daemon.path.unlink()
    assert shim.ask("ping", 1)["result"] == {"by": "stand-in"}
    until(lambda: len(starts(home)) == 1)


def test_a_system_wide_daemon_is_used_where_there_is_no_other(machine: Machine, launch: Launch) -> None:
    """Found at its fixed place."""
    home, patch = machine
    daemon = FakeDaemon(home / "system.sock").start()
    assert launch(patch, ALEPH_AGENT_RUNTIME_DIR="").ask("ping", 1)["result"] == {}
    assert starts(home) == []
    daemon.stop()


def test_whoever_types_it_is_told_what_it_is() -> None:
    """Instead of a program that seems to hang, waiting for a client on a terminal."""
    done = subprocess.run([sys.executable, "-m", "aleph_agent_mcp", "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "a client starts it" in done.stderr
