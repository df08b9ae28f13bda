"""Codex, Gemini CLI and OpenCode list our tools to their models; plugin and bundle pass their vendors' validators."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.daemon import DaemonProcess
from support.source import ROOT

from . import npm
from .claude_code import PACKAGE as CLAUDE_CODE
from .claude_code import ClaudeCode
from .course import SHIM, TOOLS
from .mock_messages_api import MockMessagesApi
from .recorder import Recorder

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

MCPB, CODEX, GEMINI = "@anthropic-ai/mcpb@2.1.2", "@openai/codex@0.169.0", "@google/gemini-cli@0.61.0"
OPENCODE = "opencode-ai@1.18.33"
RUN_S = 60


def run(program: str, *arguments: str, home: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """A client of npm's, apart from this account."""
    return subprocess.run(
        [npm.MODULES / ".bin" / program, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": str(home), **env},
        cwd=home,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=RUN_S,
        check=False,
    )


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` packs for clients."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, ROOT / "clients/pack.py", folder], check=True, capture_output=True)
    return folder


def test_the_plugin_is_valid(dist: Path, tmp_path: Path) -> None:
    """By Claude Code's own judgement."""
    npm.install(CLAUDE_CODE)
    done = run("claude", "plugin", "validate", str(dist / "claude-code-plugin"), home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Validation passed" in done.stdout


def test_the_plugin_brings_tools_and_profile(dist: Path, claude_code: ClaudeCode) -> None:
    """As docs/clients.md loads it, with nothing else set up: the model is told of every tool, and of the skill."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with MockMessagesApi() as api:
        done = claude_code.run(
            *("--plugin-dir", str(dist / "claude-code-plugin"), "-p", "hello"),
            PATH=programs,
            ANTHROPIC_BASE_URL=api.url,
            ANTHROPIC_API_KEY="dummy",
            **_ours(claude_code.daemon),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    told = api.prompt() + json.dumps(sorted(api.tools()))
    assert sorted(tool for tool in TOOLS if tool not in told) == []
    assert "How to rent, use and end Aleph Cloud VMs" in told


def test_the_bundle_is_valid(dist: Path, tmp_path: Path) -> None:
    """By the bundles' own tool, of what is unpacked."""
    npm.install(MCPB)
    done = run("mcpb", "validate", str(dist / "claude-desktop/manifest.json"), home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_codex_lists_our_tools_to_its_model(daemon: DaemonProcess, tmp_path: Path) -> None:
    """With the configuration of docs/clients, but for the program's place and the daemon's."""
    npm.install(CODEX)
    server = tomllib.loads((ROOT / "docs/clients/codex.toml").read_text())["mcp_servers"]["aleph-agent"]
    with Recorder() as api:
        settings = {
            "model_provider": "mock",
            "model_providers.mock": _table(name="mock", base_url=f"{api.url}/v1", wire_api="responses"),
            "mcp_servers.aleph-agent": _table(
                **{**server, "command": SHIM[0], "args": SHIM[1:]}, env=_ours(daemon), required=True
            ),
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={_toml(value)}")]
        options = ("--skip-git-repo-check", "--sandbox", "read-only", "--model", "gpt-5")
        done = run("codex", "exec", *given, *options, "hello", home=tmp_path)
        sent = json.dumps(api.bodies)
    missing = sorted(tool for tool in TOOLS if tool not in sent)
    assert missing == [], done.stdout + done.stderr


def test_gemini_lists_our_tools_to_its_model(daemon: DaemonProcess, tmp_path: Path) -> None:
    """The same for Gemini CLI."""
    npm.install(GEMINI)
    settings = json.loads((ROOT / "docs/clients/gemini.json").read_text())
    settings["mcpServers"]["aleph-agent"] |= {"command": SHIM[0], "args": SHIM[1:], "env": _ours(daemon)}
    settings |= {"security": {"auth": {"selectedType": "gemini-api-key"}}}
    settings |= {"privacy": {"usageStatisticsEnabled": False}, "general": {"enableAutoUpdate": False}}
    (tmp_path / ".gemini").mkdir()
    (tmp_path / ".gemini/settings.json").write_text(json.dumps(settings))
    with Recorder() as api:
        done = run(
            *("gemini", "--skip-trust", "--approval-mode", "yolo", "--prompt", "hello"),
            home=tmp_path,
            GEMINI_API_KEY="dummy",
            GOOGLE_GEMINI_BASE_URL=api.url,
        )
        sent = json.dumps(api.bodies)
    missing = sorted(tool for tool in TOOLS if tool not in sent)
    assert missing == [], done.stdout + done.stderr


def test_opencode_lists_our_tools_to_its_model(daemon: DaemonProcess, tmp_path: Path) -> None:
    """The same for OpenCode, which says beforehand that it is connected."""
    npm.install(OPENCODE)
    settings = json.loads((ROOT / "docs/clients/opencode.json").read_text())
    settings["mcp"]["aleph-agent"] |= {"command": SHIM, "environment": _ours(daemon)}
    settings |= {"model": "mock/mock", "autoupdate": False, "share": "disabled"}
    with Recorder() as api:
        mock = {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": f"{api.url}/v1", "apiKey": "dummy"},
        }
        settings |= {"provider": {"mock": {**mock, "models": {"mock": {"name": "mock"}}}}}
        (tmp_path / "opencode.json").write_text(json.dumps(settings))
        quiet = {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1"}
        listed = run("opencode", "mcp", "list", home=tmp_path, **quiet)
        done = run("opencode", "run", "hello", home=tmp_path, **quiet)
        sent = json.dumps(api.bodies)
    assert re.search(r"✓ aleph-agent \S*connected", listed.stdout), listed.stdout + listed.stderr
    missing = sorted(tool for tool in TOOLS if tool not in sent)
    assert missing == [], done.stdout + done.stderr


def _ours(daemon: DaemonProcess) -> dict[str, str]:
    return {"ALEPH_AGENT_RUNTIME_DIR": str(daemon.runtime)}


def _table(**values: object) -> dict[str, object]:
    return values


def _toml(value: object) -> str:
    """JSON's strings, lists, numbers and truths are TOML's too; its objects are not."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{name}" = {_toml(one)}' for name, one in value.items()) + "}"
    return json.dumps(value)
