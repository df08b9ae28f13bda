"""Where the daemon's sockets lie: one rule for the daemon that makes them and the clients that look for them."""

import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "ALEPH_AGENT_RUNTIME_DIR"
NAME = "aleph-agentd"
AGENT_SOCKET = "agent.sock"
CONTROL_SOCKET = "control.sock"
MAX_SOCKET_PATH = 107
"""Bytes that the kernel takes for a Unix socket's path."""

_SYSTEM_DIR = Path("/run", NAME)


def daemon_dir(environ: Mapping[str, str]) -> Path:
    """Where a daemon with this environment puts its sockets."""
    if chosen := environ.get(VARIABLE):
        return _checked(chosen)
    if by_systemd := environ.get("RUNTIME_DIRECTORY"):
        return Path(by_systemd.split(":")[0])
    return _session_dirs(environ)[0]


def client_dirs(environ: Mapping[str, str]) -> list[Path]:
    """Where a client looks for the daemon, most specific first."""
    if chosen := environ.get(VARIABLE):
        return [_checked(chosen)]
    return [*_session_dirs(environ), _SYSTEM_DIR]


def find_socket(name: str, environ: Mapping[str, str]) -> Path:
    """The first socket of this name that exists, else the place where the first one would be."""
    paths = [directory / name for directory in client_dirs(environ)]
    return next((path for path in paths if path.exists()), paths[0])


def _session_dirs(environ: Mapping[str, str]) -> list[Path]:
    by_login = Path("/run/user", str(os.getuid()), NAME)
    session = environ.get("XDG_RUNTIME_DIR", "")
    # The XDG specification: a relative path there is to be ignored.
    return [Path(session, NAME), by_login] if session.startswith("/") else [by_login]


def _checked(chosen: str) -> Path:
    path = Path(chosen)
    if not path.is_absolute():
        raise ValueError(f"{VARIABLE} must be an absolute path, not {chosen!r}")
    longest = len(os.fsencode(path / CONTROL_SOCKET))
    if longest > MAX_SOCKET_PATH:
        raise ValueError(
            f"{VARIABLE} is too long: a socket's path may have {MAX_SOCKET_PATH} bytes, this one has {longest}"
        )
    return path
