"""`python -m aleph_agent_mcp`: what an MCP client starts."""

import sys

# `_signal`, because `signal` imports `enum`: 5 ms of every agent's start.
from _signal import SIG_DFL, SIGINT, SIGPIPE, SIGTERM, signal  # type: ignore[import-not-found]


def main() -> None:
    """Serve one MCP client on standard input and output."""
    if sys.argv[1:]:
        sys.exit(
            "aleph-agent-mcp speaks MCP on standard input and output, and takes no arguments: a client starts it."
        )
    # Clients stop their servers with SIGINT: that is an end, not a traceback.
    for number in (SIGINT, SIGPIPE, SIGTERM):
        signal(number, SIG_DFL)
    from aleph_agent_mcp.pump import Pump
    from aleph_agent_mcp.session import Session

    Pump(Session()).run()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        # `-m` puts the working directory first: a project's own select.py or json.py is none of our business.
        del sys.path[0]
    main()
