"""Whether an agent's client is set up to start our shim."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from aleph_agentd.control.doctor.facts import PROJECT_FILE, ClientFacts, Facts
from aleph_agentd.control.doctor.finding import Finding, fail, ours, warn, well


def clients(facts: Facts) -> Iterator[Finding]:
    """Each client that has us can start us; at least one has."""
    for found in facts.clients:
        name = f"client {found.client}"
        if found.trouble:
            yield warn(name, f"{found.path}: {found.trouble}", advice="mend that file by hand")
        for program, starts in found.programs:
            if starts:
                yield well(name, f"{found.path} starts {program}")
            else:
                yield fail(name, f"{found.path} names {program}, which cannot be started", **_mend(found))
    if not any(found.programs for found in facts.clients):
        yield warn("client", "neither Claude Code nor Claude Desktop starts aleph-agent-mcp", **_add())


def _mend(found: ClientFacts) -> dict[str, str]:
    """The entry of a project lies in a file that the client's own command for this user leaves as it is."""
    if Path(found.path).name == PROJECT_FILE:
        return {"advice": f'write into {found.path}, in place of it: "command": {json.dumps(_program())}'}
    return _add(found.client)


def _program() -> str:
    """In full: what a desktop starts has no shell's PATH."""
    return str(Path(sys.executable).with_name("aleph-agent-mcp"))


def _add(client: str = "") -> dict[str, str]:
    """The client's own command where it is on the path; else what a person writes into its configuration."""
    shim = ours("aleph-agent-mcp")
    add = f"claude mcp add --scope user aleph-agent -- {shim}"
    if client != "Claude Desktop" and shutil.which("claude"):
        return {"fix": f"claude mcp remove --scope user aleph-agent; {add}" if client else add}
    entry = json.dumps({"mcpServers": {"aleph-agent": {"command": _program()}}})
    return {"advice": f"add to your client's configuration: {entry}"}
