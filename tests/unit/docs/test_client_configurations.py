"""The configurations in docs/clients: each parses, and what it starts is our shim, which answers."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from support import client_forms
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


@pytest.mark.parametrize("name", client_forms.OF_FILE)
def test_each_has_the_form_that_its_client_publishes(name: str):
    """Nothing is missing, of another type, or unknown to it; a mistake would be seen."""
    form, document = client_forms.OF_FILE[name], json.loads((FOLDER / name).read_text())
    assert form.model_validate(document)
    server = document
    for part in PATHS[name]:
        server = server[part]
    for mistake in ({"comand": "x"}, {"command": 7}):
        changed = {**server, **mistake}
        for part in reversed(PATHS[name]):
            changed = {part: changed}
        with pytest.raises(ValidationError):
            form.model_validate(document | changed)


def test_the_manifest_is_what_the_registry_takes():
    """Its form, one version for all, and the line in the package's README by which the registry knows the owner."""
    document = json.loads((ROOT / "clients/server.json").read_text())
    manifest = client_forms.Manifest.model_validate(document)
    assert f"<!-- mcp-name: {manifest.name} -->" in (ROOT / "README.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [package] = manifest.packages
    assert (package.identifier, manifest.version) == (project["name"], project["version"])
    assert package.runtimeArguments[-1].value in project["scripts"]
    for mistake in (
        {"description": "x" * 101},
        {"name": "no-namespace"},
        {"version": "^0.1.0"},
        {"extra": 1},
    ):
        with pytest.raises(ValidationError):
            client_forms.Manifest.model_validate(document | mistake)


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
