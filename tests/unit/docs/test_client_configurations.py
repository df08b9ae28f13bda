"""The configurations in docs/clients: each parses, and what it starts is our shim, which answers."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from support.source import ROOT

FOLDER = ROOT / "docs/clients"
PATHS: dict[str, tuple[str, ...]] = {
    "codex.toml": ("mcp_servers", "aleph-agent"),
    "gemini.json": ("mcpServers", "aleph-agent"),
    "cursor.json": ("mcpServers", "aleph-agent"),
    "claude-desktop.json": ("mcpServers", "aleph-agent"),
    "vscode.json": ("servers", "aleph-agent"),
    "opencode.json": ("mcp", "aleph-agent"),
}
"""Where each client looks for a server."""
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}


def command_of(name: str) -> list[str]:
    """What the configuration makes the client start."""
    text = (FOLDER / name).read_text()
    document: Any = tomllib.loads(text) if name.endswith(".toml") else json.loads(text)
    for part in PATHS[name]:
        document = document[part]
    command = document["command"]
    return [*command] if isinstance(command, list) else [command, *document.get("args", [])]


def test_every_configuration_is_known_here():
    """A new one is tried too."""
    assert {path.name for path in FOLDER.iterdir()} == {*PATHS, "profile.md"}


def test_each_command_is_the_shim_and_answers_a_handshake(tmp_path: Path):
    """Also with no daemon there: the shim says so instead of failing. What several start is started once."""
    commands = {(Path(program).name, *rest) for program, *rest in map(command_of, PATHS)}
    for program, *arguments in commands:
        assert program == "aleph-agent-mcp"
        done = subprocess.run(
            [Path(sys.executable).parent / program, *arguments],
            input=json.dumps(INITIALIZE).encode() + b"\n",
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ALEPH_AGENT_RUNTIME_DIR": str(tmp_path)},
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert json.loads(done.stdout)["result"]["serverInfo"]["name"] == "aleph-agent", done.stderr


def test_the_bundle_s_shim_answers_from_where_it_was_unpacked(tmp_path: Path):
    """Nothing but the interpreter is needed: `clients/pack.py` packs what it imports."""
    subprocess.run(
        [sys.executable, ROOT / "clients/pack.py", tmp_path / "dist"], check=True, capture_output=True
    )
    folder = tmp_path / "dist" / "claude-desktop"
    start = json.loads((folder / "manifest.json").read_text())["server"]["mcp_config"]
    env = {name: value.replace("${__dirname}", str(folder)) for name, value in start["env"].items()}
    done = subprocess.run(
        [sys.executable, "-S", *start["args"]],
        input=json.dumps(INITIALIZE).encode() + b"\n",
        env={"HOME": str(tmp_path), "ALEPH_AGENT_RUNTIME_DIR": str(tmp_path), **env},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert json.loads(done.stdout)["result"]["serverInfo"]["name"] == "aleph-agent", done.stderr
    skill = (tmp_path / "dist/claude-code-plugin/skills/aleph-agent/SKILL.md").read_text()
    assert skill.startswith("---\nname: aleph-agent\n") and "## What to do on each error" in skill
    assert (tmp_path / "dist/aleph-agent-0.1.0.mcpb").stat().st_size < 100_000
