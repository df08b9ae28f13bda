"""A process that has imported the daemon, and forks one for each line that it reads: no import per start.

    {"environment": {…}, "folder": "/…", "arguments": ["run"], "log": "daemon.log", "fuse": "/…"}

It answers each line with the process id of the new daemon, which is a process like any other from then on:
it takes over only what was imported, and ends by its own signal.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # pytest's configuration does this for tests
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import aleph.sdk.client.authenticated_http
import aleph.sdk.client.vm_client  # noqa: F401
import mcp.server.lowlevel  # noqa: F401

from aleph_agentd.__main__ import main
from aleph_agentd.gateway import mcp_session  # noqa: F401
from crash import dying
from crash.fuse import Fuse
from crash.points import points


def become(order: dict[str, Any]) -> None:
    """Turn this fork into the daemon; ends with it."""
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    log = os.open(Path(order["folder"]) / order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    random.seed()
    dying.install(Fuse(Path(order["fuse"]), len(points())))
    main(order["arguments"])


def serve() -> None:
    """Fork until the last line."""
    points()  # read here, once: not in every fork, and the source may change meanwhile
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for them: no zombies
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    for line in requests:
        child = os.fork()
        if not child:
            requests.close()
            answers.close()
            become(json.loads(line))
            os._exit(0)
        answers.write(f"{child}\n")
        answers.flush()


if __name__ == "__main__":
    serve()
