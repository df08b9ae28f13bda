"""The real Claude Code: installed by npm beside the repository, and run apart from this account."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.daemon import DaemonProcess

from . import npm
from .mock_messages_api import MockMessagesApi

PACKAGE = "@anthropic-ai/claude-code@2.1.330"
PROGRAM = npm.MODULES / ".bin" / "claude"
RUN_S = 100
SERVER = "aleph-agent"
QUIET = ("DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC")


@dataclass
class ClaudeCode:
    """One installation with a home of its own, working in one project."""

    daemon: DaemonProcess
    folder: Path

    def __post_init__(self) -> None:
        npm.install(PACKAGE)
        self.project = self.folder / "project"
        self.project.mkdir(parents=True)

    def run(self, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """`claude <arguments>` in the project."""
        return subprocess.run(
            [PROGRAM, *arguments],
            env={**self._env(), **env},
            cwd=self.project,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=RUN_S,
            check=False,
        )

    def mcp(self, *arguments: str) -> str:
        """`claude mcp <arguments>`, which must succeed."""
        done = self.run("mcp", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def add_server(self, *command: str) -> str:
        """`claude mcp add` for this daemon."""
        runtime_dir = f"ALEPH_AGENT_RUNTIME_DIR={self.daemon.runtime}"
        return self.mcp("add", SERVER, "-e", runtime_dir, "--", *command)

    def converse(
        self,
        era: str,
        *calls: tuple[str, dict[str, Any]],
        says: str = "DONE",
        between: dict[int, Callable[[], None]] | None = None,
    ) -> MockMessagesApi:
        """A whole `claude -p` conversation, one tool call per turn; the API knows what the model saw.

        `between` is done right before a call, by its number; at the end the model `says` something.
        """
        script = "\n".join(f"CALL mcp__{SERVER}__{tool} {json.dumps(args)}" for tool, args in calls)
        with MockMessagesApi(says, between or {}) as api:
            done = self.run(
                *("-p", script, "--allowedTools", f"mcp__{SERVER}__*", "--output-format", "json"),
                ANTHROPIC_BASE_URL=api.url,
                ANTHROPIC_API_KEY="dummy",
                MCP_PROTOCOL_NEGOTIATION=era,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        api.printed = json.loads(done.stdout)["result"]
        return api

    def _env(self) -> dict[str, str]:
        folders = {
            f"XDG_{name}_HOME": str(self.folder / name) for name in ("CONFIG", "STATE", "CACHE", "DATA")
        }
        return {
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "CLAUDE_CONFIG_DIR": str(self.folder / "claude"),
            **folders,
            **dict.fromkeys(QUIET, "1"),
        }


def text_of(result: dict[str, Any]) -> str:
    """What the model read of one call."""
    content = result["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
