"""Whether an agent's client is set up to start our shim."""

from collections.abc import Iterator

from aleph_agentd.control.doctor.facts import Facts
from aleph_agentd.control.doctor.finding import Finding, command, fail, ours, warn, well


def clients(facts: Facts) -> Iterator[Finding]:
    """Each client that has us can start us; at least one has."""
    for found in facts.clients:
        name = f"client {found.client}"
        if found.trouble:
            yield warn(name, f"{found.path}: {found.trouble}", f"${{EDITOR:-vi}} {command(found.path)}")
        for program, starts in found.programs:
            if starts:
                yield well(name, f"{found.path} starts {program}")
            else:
                yield fail(name, f"{found.path} names {program}, which cannot be started", _add(again=True))
    if not any(found.programs for found in facts.clients):
        yield warn("client", "neither Claude Code nor Claude Desktop is set up for aleph-agent", _add())


def _add(*, again: bool = False) -> str:
    add = f"claude mcp add --scope user aleph-agent -- {ours('aleph-agent-mcp')}"
    return f"claude mcp remove --scope user aleph-agent; {add}" if again else add
