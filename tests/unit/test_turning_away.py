"""Clients that wait for a daemon that cannot use its configuration: the real program, on sockets handed over."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

START = 'exec 3<&0 && LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" -I -m aleph_agentd run'


def test_whoever_waits_is_told_what_is_wrong_and_nobody_stays_in_the_queue(tmp_path: Path) -> None:
    """One that asked, one that hung up already: both are taken off the socket, which would start it again."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "agent.sock"))
        listener.listen()
        client.settimeout(30)
        client.connect(listener.getsockname())
        client.sendall(msgpack.packb([0, 1, "mcp.open", [{}]]))
        with socket.socket(socket.AF_UNIX) as gone:
            gone.connect(listener.getsockname())
        daemon = subprocess.Popen(
            ["/bin/sh", "-c", START, sys.executable],
            stdin=listener.fileno(),
            stderr=subprocess.PIPE,
            env={**os.environ, "HOME": str(tmp_path), "ALEPH_AGENT_MAX_CONCURRENT_VMS": "many"},
        )
        kind, request, error, _ = msgpack.unpackb(client.recv(65_536))
        client.close()
        _, said = daemon.communicate()
        assert (kind, request, error["code"], daemon.returncode) == (1, 1, "configuration", 78)
        assert "max_concurrent_vms" in error["message"].lower() and b"many" in said
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
