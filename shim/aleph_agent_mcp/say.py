"""What the shim says to whoever reads the client's log: one line, and never a message's content."""

import os
from select import POLLOUT, poll


def say(text: str) -> None:
    """Write one line to standard error; dropped rather than waited for if nobody reads it."""
    watch = poll()
    watch.register(2, POLLOUT)
    if dict(watch.poll(0)).get(2) == POLLOUT:
        os.write(2, f"aleph-agent-mcp: {text}\n".encode("utf-8", "replace")[:4096])
