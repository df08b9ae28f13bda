"""The MCP Inspector, which judges servers more strictly than agents do."""

import json
import os
import subprocess
from typing import Any

import pytest

from support.daemon import DaemonProcess

from . import npm
from .course import SHIM, TOOLS

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

# The package `node` is Node itself: the Inspector wants a newer one than most machines have.
PACKAGES = ("@modelcontextprotocol/inspector@2.12.0", "node@22.23.3")
RUN_S = 100
IS_ERROR = 5


@pytest.fixture(params=["legacy", "modern"])
def era(request: pytest.FixtureRequest) -> str:
    """Which protocol era it speaks."""
    return str(request.param)


def inspect(daemon: DaemonProcess, era: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`mcp-inspector --cli` against a shim of its own."""
    npm.install(*PACKAGES)
    # It hands nothing of its own environment down; without these the shim would look for the account's daemon.
    shim_env = {
        name: value for name, value in daemon.shim_environment().items() if name.startswith("ALEPH_AGENT_")
    }
    given = [part for name, value in shim_env.items() for part in ("-e", f"{name}={value}")]
    return subprocess.run(
        [
            str(npm.MODULES / "node" / "bin" / "node"),
            str(npm.MODULES / ".bin" / "mcp-inspector"),
            *("--cli", *SHIM, *given, "--protocol-era", era, *arguments),
        ],
        env={"HOME": str(daemon.home), "PATH": os.environ["PATH"]},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=RUN_S,
        check=False,
    )


def call(daemon: DaemonProcess, era: str, tool: str, **arguments: Any) -> "subprocess.CompletedProcess[str]":
    """One tool call."""
    asked = ("--tool-name", tool, "--tool-args-json", json.dumps(arguments))
    return inspect(daemon, era, "--method", "tools/call", *asked)


def test_it_finds_nothing_wrong_with_the_tools(daemon: DaemonProcess, era: str) -> None:
    """`--strict` exits with 6 if a schema is not portable."""
    done = inspect(daemon, era, "--method", "tools/list", "--strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert {tool["name"] for tool in json.loads(done.stdout)["tools"]} == TOOLS


def test_it_is_answered_and_refused(daemon: DaemonProcess, era: str) -> None:
    """A success is structured; a refusal is a result with isError."""
    balance = call(daemon, era, "aleph_check_balance")
    assert balance.returncode == 0, balance.stderr
    assert json.loads(balance.stdout)["structuredContent"]["balance_credits"] > 0
    refused = call(daemon, era, "aleph_destroy_vm", item_hash="nobody")
    assert refused.returncode == IS_ERROR, refused.stderr
    assert "code: not_found" in refused.stdout
