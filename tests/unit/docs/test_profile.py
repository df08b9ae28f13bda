"""The profile that any model reads: as true as the source it tells of."""

import re

from aleph_agentd.tools.toolbox import ALL
from support.codes import codes_of_agents
from support.source import ROOT

PROFILE = (ROOT / "docs/clients/profile.md").read_text()
ADVICE, TABLE = PROFILE.split("| code |")
OWNERS_ONLY = {
    "passphrase",
    "passphrase_file",
    "passphrase_unset",
    "passphrase_wait",
    "not_owner",
    "not_waiting",
}
"""Refusals on control.sock, which no agent meets."""
VALUES = {"done", "failed", "lost", "project_"}
"""Of `setup`, and how a code begins: the advice names them, and they are neither tool nor field."""


def test_every_code_that_an_agent_can_meet_is_told_and_no_other():
    """Read from the source: a new refusal needs its line, and one that is gone loses it."""
    told = set(re.findall(r"`([a-z0-9_]+)`", "\n".join(row.split("|")[1] for row in TABLE.splitlines()[2:])))
    codes = codes_of_agents() - OWNERS_ONLY
    assert (codes - told, told - codes) == (set(), set())


def test_a_project_s_own_limits_are_told_by_the_codes_they_begin_with():
    """`project_…` is the daemon's limit of the same name, for one directory."""
    assert "`project_" in PROFILE


def test_every_tool_that_it_names_exists_and_every_field_too():
    """No model is sent to a tool that is not there, or looks for what no answer has."""
    tools = {tool.name for tool in ALL}
    assert set(re.findall(r"aleph_[a-z_]+", PROFILE)) - tools == set()
    fields = {name for tool in ALL for model in (tool.arguments, tool.answer) for name in model.model_fields}
    named = set(re.findall(r"`([a-z_]+)[=`]", ADVICE))
    assert {"aleph_create_vm", "dry_run", "crn_hash", "approval_id"} <= named
    assert named - tools - fields - VALUES == set()
