"""Runs inside a guest's sandbox, as its only door: starts each command that comes through the socket it is given.

A request is one datagram: the command, with the descriptors of its stdin, stdout, stderr, and one for its exit code.
It is passed to a bare interpreter as source: it imports nothing but the standard library.
"""

import os
import resource
import socket
import subprocess
import sys
import threading
from contextlib import suppress

MOST_COMMAND = 128 * 1024
MOST_FILE_BYTES = 1 << 30
ENVIRONMENT = {
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/sh",
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/opt/devnet-tools/bin:/opt/devnet-python/bin",
    "LANG": "C.UTF-8",
}


def main() -> None:
    """Serve until the other side closes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_FILE_BYTES, MOST_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    door = socket.socket(fileno=int(sys.argv[1]))
    while True:
        command, fds, _, _ = socket.recv_fds(door, MOST_COMMAND, 4)
        if not command:
            return
        if len(fds) == 4:
            begin(command, fds)
        else:
            close(fds)


def begin(command: bytes, fds: list[int]) -> None:
    """Start it, and tell its end."""
    streams, told = fds[:3], fds[3]
    try:
        started = subprocess.Popen(
            [b"/bin/sh", b"-c", command],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            cwd="/root",
            env=ENVIRONMENT,
            start_new_session=True,
        )
    except (OSError, ValueError):
        os.write(told, b"126")
        close(fds)
        return
    close(streams)
    threading.Thread(target=tell, args=(started, told), daemon=True).start()


def tell(started: "subprocess.Popen[bytes]", told: int) -> None:
    """Wait for its end, as a shell would number it."""
    code = started.wait()
    with suppress(OSError):  # nobody listens any more
        os.write(told, b"%d" % (code if code >= 0 else 128 - code))
    os.close(told)


def close(fds: list[int]) -> None:
    """They are the child's now."""
    for fd in fds:
        os.close(fd)


if __name__ == "__main__":
    main()
