"""A real daemon on whatever network the environment points at, with a spend limit of its own."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.demo.login import make_key
from aleph_agentd.demo.program import running
from aleph_agentd.demo.stage import wait_until_ready
from aleph_agentd.domain.money import parse_amount
from aleph_agentd.gateway.rpc.client import Client, open_client

MAX_SPEND_VARIABLE = "ALEPH_AGENT_LIVE_MAX_SPEND"
CALL_S = 300.0

_REAL = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nothing here runs unless it is asked for: it spends credits."""
    asked = os.environ.get("ALEPH_AGENT_RUN_INTEGRATION") == "1"
    for item in items:
        if item.path.is_relative_to(_REAL):
            item.add_marker(pytest.mark.live)
            if not asked:
                item.add_marker(
                    pytest.mark.skip(reason="spends credits: ALEPH_AGENT_RUN_INTEGRATION=1 runs it")
                )


class LiveDaemon:
    """A daemon as an agent sees it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def use(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool."""
        request = {"name": tool, "arguments": arguments, "request_key": os.urandom(16).hex()}
        return await self._client.call("tools.call", request, CALL_S)


@pytest.fixture
def max_spend_units() -> int:
    """The hard limit of this suite, in network units."""
    return parse_amount(os.environ.get(MAX_SPEND_VARIABLE, "20 cr"))


@pytest.fixture
async def live_daemon(tmp_path: Path) -> AsyncIterator[LiveDaemon]:
    """Its inventory, sockets and SSH key are the test's own; key and network are the environment's."""
    limit = os.environ.get(MAX_SPEND_VARIABLE, "20 cr")
    runtime = tmp_path / "run"
    env = {name: value for name, value in os.environ.items() if name != MAX_SPEND_VARIABLE}
    env |= {
        "ALEPH_AGENT_RUNTIME_DIR": str(runtime),
        "ALEPH_AGENT_INVENTORY_PATH": str(tmp_path / "inventory.db"),
        "ALEPH_AGENT_SSH_PUBKEY_PATH": str(make_key(tmp_path).with_suffix(".pub")),
        "ALEPH_AGENT_MAX_DAILY_SPEND": limit,
        "ALEPH_AGENT_MAX_SESSION_SPEND": limit,
    }
    command = [sys.executable, "-m", "aleph_agentd", "run"]
    async with running("aleph-agentd", command, env, tmp_path) as daemon:
        await wait_until_ready(daemon, runtime)
        async with open_client(runtime / "agent.sock") as client:
            yield LiveDaemon(client)
