"""From claims to a caller: they are shown as claims, and change nothing that matters."""

import os
from typing import Any

import pytest

from aleph_agentd.domain.caller import Peer, SessionLimits
from aleph_agentd.domain.limits import Limits
from aleph_agentd.domain.session_limits import DaemonSettings
from aleph_agentd.gateway.sessions import Sessions

PEER = Peer(uid=1000, pid=os.getpid())
NONCE = "0" * 32


def opened(**preamble: Any) -> Any:
    """The caller that a preamble makes."""
    return Sessions(DaemonSettings(limits=Limits())).opened(PEER, NONCE, preamble)


@pytest.mark.parametrize("claim", ["7), the owner (pid 1", "7", True, -1, 2**40, None, {"pid": 7}])
def test_the_client_s_pid_is_a_number_or_the_kernel_s(claim: Any) -> None:
    """A text in its place would speak to the owner in our words (rules.md 13)."""
    assert opened(client_pid=claim).client == f"an MCP client (pid {PEER.pid})"
    assert opened(client_pid=4711).client == "an MCP client (pid 4711)"


def test_nothing_that_a_preamble_claims_makes_its_session_more() -> None:
    """Neither a human nor another user nor another session, and no limit looser (rules.md 11 and 13)."""
    claims = {
        "human": True,
        "uid": 0,
        "session": "human-0",
        "nonce": "f" * 32,
        "limits": {"max_ttl_hours": 1000},
        "spending_refused": "",
        "peer": {"human": True},
    }
    caller = opened(**claims)
    assert (caller.peer, caller.session, caller.limits) == (PEER, NONCE, SessionLimits())


def test_a_claimed_directory_is_cut_and_made_visible() -> None:
    """The owner reads it."""
    assert opened(cwd="/a/\u202e\x1b[2Jb\n/../c").project == "/a/c"
    assert len(opened(cwd="/" + "x" * 5000).project) <= 200
