"""systemd's side of the process: readiness, watchdog, inherited sockets, credentials. Standard library only."""

import contextlib
import logging
import os
import socket
import stat
import time
from pathlib import Path

log = logging.getLogger(__name__)

FIRST_FD = 3
"""SD_LISTEN_FDS_START."""
SEND_TIMEOUT_S = 0.2
ROOT = 0


def notify(**fields: str | int) -> bool:
    """Tell systemd, for example `notify(READY=1, STATUS="serving")`; False if nobody was told. Never raises."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    # A line end in a value would start another field.
    lines = (f"{name}={str(value).splitlines()[0] if str(value) else ''}" for name, value in fields.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(SEND_TIMEOUT_S)
            sock.sendto("\n".join(lines).encode(errors="replace"), _as_address(address))
    except (OSError, ValueError) as problem:
        log.debug("systemd was not told: %s", problem)
        return False
    return True


def ready(status: str = "") -> bool:
    """The sockets are served."""
    return notify(READY=1, STATUS=status)


def status(text: str) -> bool:
    """The line that `systemctl status` shows."""
    return notify(STATUS=text)


def watchdog() -> bool:
    """The event loop turns."""
    return notify(WATCHDOG=1)


def stopping(status: str = "") -> bool:
    """The drain begins."""
    return notify(STOPPING=1, STATUS=status)


def reloading() -> bool:
    """A reload begins; `ready()` ends it."""
    return notify(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)


def extend_timeout(seconds: float) -> bool:
    """The start or stop may take this much longer from now on."""
    return notify(EXTEND_TIMEOUT_USEC=round(seconds * 1_000_000))


def listen_fds() -> dict[str, socket.socket]:
    """The listening sockets that systemd passed, by the name of their file; empty if it passed none to us.

    One without a file goes by its FileDescriptorName=, which all sockets of one unit share. The variables are removed, so that a child process does not take them for its own.
    """
    pid, count, names = (os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    labels = names.split(":") if names else []
    found: dict[str, socket.socket] = {}
    for index in range(int(count)):
        label = labels[index] if index < len(labels) else f"fd{index}"
        sock = _adopt(FIRST_FD + index)
        if sock is None:
            continue
        label = _file_name(sock) or label
        if label in found:
            log.warning("systemd passed two sockets named %s; the second is not used", label)
            sock.close()
            continue
        found[label] = sock
    return found


def watchdog_interval_s() -> float | None:
    """How often to call `watchdog()`: half of what the unit allows; None without a watchdog."""
    allowed, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not allowed.isdecimal() or int(allowed) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(allowed) / 2_000_000


def credentials_directory() -> Path | None:
    """Where LoadCredential= put its files, if it did."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return Path(directory) if directory.startswith("/") else None


def is_guarded_by_its_mode(listener: socket.socket) -> bool:
    """Whether the modes of a socket's file say who is served, and not the uid of the daemon.

    So it is when the system manager made it: the file and its directory are in the hands of root, who we are not,
    and it is open to its group only. In a user's own systemd, and in a user namespace, neither belongs to root.
    """
    name = listener.getsockname()
    if os.geteuid() == ROOT or not isinstance(name, str) or not name.startswith("/"):
        return False
    path = Path(name)
    try:
        file, directory = path.lstat(), path.parent.lstat()
    except OSError:  # a user unit's sandbox hides it
        return False
    if (
        not stat.S_ISSOCK(file.st_mode)
        or {file.st_uid, directory.st_uid} != {ROOT}
        or directory.st_mode & 0o022
    ):
        return False
    if file.st_mode & 0o007:
        log.warning("nobody else is served at %s: it is open to everybody, not to a group", name)
        return False
    return True


def is_there() -> bool:
    """Whether anybody is told what `notify` tells."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def _file_name(sock: socket.socket) -> str:
    name = sock.getsockname()
    return Path(name).name if isinstance(name, str) and name.startswith("/") else ""


def _as_address(address: str) -> str | bytes:
    return b"\0" + os.fsencode(address[1:]) if address[0] == "@" else address


def _adopt(fd: int) -> socket.socket | None:
    """The descriptor as a socket that listens and that children do not inherit."""
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError as problem:
        log.warning("descriptor %d from systemd is no socket: %s", fd, problem.strerror)
        return None
    with contextlib.suppress(OSError):
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return sock
    log.warning("descriptor %d from systemd does not listen", fd)
    sock.close()
    return None
