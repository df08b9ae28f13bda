"""`python -m aleph_agent_mcp`: what an MCP client starts."""

# `_signal`, because `signal` imports `enum`: 5 ms of every agent's start.
from _signal import SIG_DFL, SIGINT, SIGPIPE, SIGTERM, signal  # type: ignore[import-not-found]

from aleph_agent_mcp.pump import Pump
from aleph_agent_mcp.session import Session


def main() -> None:
    """Serve one MCP client on standard input and output."""
    # Clients stop their servers with SIGINT: that is an end, not a traceback.
    for number in (SIGINT, SIGPIPE, SIGTERM):
        signal(number, SIG_DFL)
    Pump(Session()).run()


if __name__ == "__main__":
    main()
