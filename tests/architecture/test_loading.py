"""What the daemon has loaded when it says READY."""

import json
import subprocess
import sys

import pytest

_SLOW = ("aleph.sdk", "aleph_message", "mcp", "mcp_types", "web3", "eth_account", "asyncssh", "httpx")


def _loaded_by(module: str) -> set[str]:
    """The modules of a fresh interpreter that has imported this one."""
    script = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["aleph_agentd.app", "aleph_agentd.__main__"])
def test_ready_waits_neither_for_the_sdk_nor_for_mcp(module: str) -> None:
    """One or two seconds and a hundred MiB that come after READY; what is due is reaped before."""
    loaded = _loaded_by(module)
    assert module in loaded
    assert not [name for name in _SLOW if name in loaded]


def test_the_human_s_client_loads_no_part_of_the_daemon_s_engine() -> None:
    """`aleph-agentctl` is a client: it answers at once."""
    loaded = _loaded_by("aleph_agentd.control.__main__")
    assert not [name for name in (*_SLOW, "sqlalchemy", "apscheduler", "pydantic") if name in loaded]


def test_the_dead_man_s_switch_needs_neither_sdk_nor_database() -> None:
    """It runs where nothing else of us is left, and must not ask for a key."""
    loaded = _loaded_by("aleph_agentd.reap_escrow")
    others = ("sqlalchemy", "apscheduler", "pydantic", "aleph_agentd.app", "aleph_agentd.adapters.config")
    assert not [name for name in (*_SLOW, *others) if name in loaded]
