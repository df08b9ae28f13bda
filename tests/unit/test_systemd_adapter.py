"""The systemd adapter against real datagram sockets and real inherited descriptors."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aleph_agentd.adapters import systemd

ECHO_FDS = """
import json, os, sys
from aleph_agentd.adapters import systemd
if sys.argv[1] == "self":
    os.environ["LISTEN_PID"] = str(os.getpid())
found = systemd.listen_fds()
print(json.dumps({
    "names": {name: sock.getsockname() for name, sock in found.items()},
    "inheritable": [sock.get_inheritable() for sock in found.values()],
    "left": [name for name in os.environ if name.startswith("LISTEN_")],
}))
"""


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def test_each_state_is_one_datagram(manager: socket.socket) -> None:
    """systemd reads fields, one per line."""
    before = time.monotonic_ns() // 1000
    assert systemd.ready("serving")
    assert manager.recv(999) == b"READY=1\nSTATUS=serving"
    assert systemd.status("2 VMs")
    assert manager.recv(999) == b"STATUS=2 VMs"
    assert systemd.watchdog()
    assert manager.recv(999) == b"WATCHDOG=1"
    assert systemd.stopping("draining")
    assert manager.recv(999) == b"STOPPING=1\nSTATUS=draining"
    assert systemd.extend_timeout(1.5)
    assert manager.recv(999) == b"EXTEND_TIMEOUT_USEC=1500000"
    assert systemd.reloading()
    first, second = manager.recv(999).decode().split("\n")
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) >= before


def test_a_value_cannot_smuggle_in_another_field(manager: socket.socket) -> None:
    """A VM's name with a newline must not stop the daemon."""
    systemd.status("name\nSTOPPING=1")
    assert manager.recv(999) == b"STATUS=name"


def test_abstract_sockets_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers use them."""
    name = f"aleph-agentd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(b"\0" + name.encode())
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        assert systemd.notify(READY=1)
        assert sock.recv(999) == b"READY=1"


@pytest.mark.parametrize(
    "address", [None, "", "relative", "/nonexistent/notify", "@nobody-listens-here", "/" + "x" * 200]
)
def test_without_a_manager_nothing_happens_and_nothing_raises(
    monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    """A daemon in the foreground runs the same code."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert systemd.notify(READY=1, STATUS="\udcff") is False


def run_with_fds(whose: str, fds: list[int], names: str, count: str | None = None) -> dict[str, object]:
    """Start a process as systemd does: descriptors from 3 on, and three variables."""
    environment = {
        **os.environ,
        "LISTEN_PID": "1",
        "LISTEN_FDS": count or str(len(fds)),
        "LISTEN_FDNAMES": names,
    }
    # Copies lie far above 3: a first dup2 must not overwrite a later source.
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
    moves = "".join(f"os.dup2({copy}, {3 + index});" for index, copy in enumerate(copies))
    starter = (
        f"import os, sys; {moves} os.execv(sys.executable, [sys.executable, '-c', {ECHO_FDS!r}, {whose!r}])"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", starter],
            env=environment,
            pass_fds=copies,
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for copy in copies:
            os.close(copy)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def listener(path: Path) -> socket.socket:
    """A listening socket whose descriptor is out of the way."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def test_inherited_sockets_come_by_name_and_go_no_further(tmp_path: Path) -> None:
    """Children of the daemon get neither the sockets nor the variables."""
    with listener(tmp_path / "agent") as agent, listener(tmp_path / "control") as control:
        found = run_with_fds("self", [agent.fileno(), control.fileno()], "agent:control")
    assert found["names"] == {"agent": str(tmp_path / "agent"), "control": str(tmp_path / "control")}
    assert found["inheritable"] == [False, False]
    assert found["left"] == []


def test_sockets_meant_for_another_process_are_left_alone(tmp_path: Path) -> None:
    """The variables may have been inherited from a shell under socket activation."""
    with listener(tmp_path / "agent") as agent:
        found = run_with_fds("other", [agent.fileno()], "agent")
    assert found == {"names": {}, "inheritable": [], "left": []}


def test_what_does_not_listen_and_what_comes_twice_is_not_used(tmp_path: Path) -> None:
    """A wrong unit file must not become a crash at the first accept."""
    with (
        listener(tmp_path / "agent") as agent,
        socket.socket(socket.AF_UNIX) as deaf,
        Path(os.devnull).open() as file,
    ):
        fds = [deaf.fileno(), agent.fileno(), agent.fileno(), file.fileno()]
        found = run_with_fds("self", fds, "deaf:agent:agent:file")
    assert found["names"] == {"agent": str(tmp_path / "agent")}


@pytest.mark.parametrize("count", ["", "x", "-1"])
def test_a_count_that_is_no_number_is_none(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    """Anybody can set a variable."""
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    assert systemd.listen_fds() == {}


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("10000000", "", 5.0),
        pytest.param("10000000", str(os.getpid()), 5.0, id="ours"),
        ("10000000", "1", None),
        ("", "", None),
        ("0", "", None),
        ("x", "", None),
    ],
)
def test_the_watchdog_is_fed_twice_per_period(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, expected: float | None
) -> None:
    """Half the time is what sd_watchdog_enabled recommends."""
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert systemd.watchdog_interval_s() == expected


def test_credentials_are_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And nowhere if it says nothing."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert systemd.credentials_directory() == tmp_path
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert systemd.credentials_directory() is None


@pytest.mark.parametrize(
    ("file_mode", "directory_mode", "is_root", "guarded"),
    [
        (0o660, 0o755, False, True),
        (0o600, 0o755, False, True),
        (0o666, 0o755, False, False),
        (0o660, 0o777, False, False),
        (0o660, 0o775, False, False),
        (0o660, 0o755, True, False),
    ],
)
def test_only_a_socket_in_the_hands_of_root_says_by_its_mode_who_is_served(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    file_mode: int,
    directory_mode: int,
    is_root: bool,
    guarded: bool,
) -> None:
    """Open to a group, yes; to everybody, or in a directory that others write, or for a daemon of root's: no."""
    monkeypatch.setattr(systemd, "ROOT", os.getuid())  # the owner of what a test makes
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() if is_root else 12345)
    folder = tmp_path / "run"
    folder.mkdir()
    with listener(folder / "agent.sock") as sock:
        (folder / "agent.sock").chmod(file_mode)
        folder.chmod(directory_mode)
        assert systemd.is_guarded_by_its_mode(sock) is guarded


def test_a_socket_of_the_users_own_systemd_serves_its_user_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its file is not root's, nor is one without a file, nor one whose file is gone."""
    monkeypatch.setattr(systemd, "ROOT", os.getuid() + 1)
    with listener(tmp_path / "a") as sock:
        assert not systemd.is_guarded_by_its_mode(sock)
        monkeypatch.setattr(systemd, "ROOT", os.getuid())
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        (tmp_path / "a").unlink()
        assert not systemd.is_guarded_by_its_mode(sock)
    with socket.socket(socket.AF_UNIX) as nameless:
        assert not systemd.is_guarded_by_its_mode(nameless)


def test_two_sockets_of_one_unit_are_told_apart_by_their_files(tmp_path: Path) -> None:
    """All sockets of a unit share its FileDescriptorName=."""
    with listener(tmp_path / "agent.sock") as agent, listener(tmp_path / "control.sock") as control:
        found = run_with_fds(
            "self", [agent.fileno(), control.fileno()], "aleph-agentd.socket:aleph-agentd.socket"
        )
    assert found["names"] == {name: str(tmp_path / name) for name in ("agent.sock", "control.sock")}
