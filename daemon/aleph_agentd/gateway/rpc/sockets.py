"""Listening Unix sockets that only their owner can open, and that never take a living daemon's place."""

import errno
import os
import socket
import stat
from pathlib import Path

from aleph_agentd.domain.errors import Conflict, Unavailable

BACKLOG = 128
ANSWER_S = 1.0


def bind(path: Path, *, mode: int = 0o600) -> socket.socket:
    """Listen at `path` in a directory of mode 0700; a socket that nobody answers is replaced."""
    _own_directory(path.parent)
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Linux gives the file the mode of the unbound socket: it is never open to others, not for an instant.
        os.fchmod(sock.fileno(), mode)
        sock.bind(os.fspath(path))
        path.chmod(mode)
        sock.listen(BACKLOG)
    except OSError as problem:
        sock.close()
        raise Unavailable(f"cannot listen on {path}: {problem.strerror or problem}", _hint(path)) from problem
    return sock


def unlink_own(path: Path, inode: int) -> None:
    """Remove the socket file at the end, unless another daemon has put its own there since."""
    try:
        if path.lstat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        pass


def _own_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError as problem:
        raise Unavailable(
            f"cannot make {directory}: {problem.strerror}", "set ALEPH_AGENT_RUNTIME_DIR"
        ) from problem
    if found.st_uid != os.geteuid():
        raise Unavailable(
            f"{directory} belongs to uid {found.st_uid}", "set ALEPH_AGENT_RUNTIME_DIR to your own"
        )
    if found.st_mode & 0o022:
        directory.chmod(0o700)


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Conflict(f"{path} exists and is not a socket", "move it away")
    except FileNotFoundError:
        return
    if _answers(path):
        raise Conflict(f"another daemon answers at {path}", "stop it first: aleph-agentctl status says which")
    path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ANSWER_S)
        try:
            probe.connect(os.fspath(path))
        except TimeoutError:
            return True  # its backlog is full: somebody is there
        except OSError as problem:
            return problem.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def _hint(path: Path) -> str:
    too_long = len(os.fsencode(path)) > 107
    return "the path is longer than a socket's may be (107 bytes)" if too_long else "check its directory"
