"""`doctor`: every prerequisite, with pass, warn or fail, why, and the exact fix."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import DONE, FAILED
from aleph_agentd.control.doctor import (
    checks_clients,
    checks_inventory,
    checks_keys,
    checks_machine,
    checks_money,
    checks_network,
)
from aleph_agentd.control.doctor.facts import Facts
from aleph_agentd.control.doctor.finding import Finding
from aleph_agentd.control.doctor.gather import gather
from aleph_agentd.control.text import plain
from aleph_agentd.control.verb import as_json, json_option

Check = Callable[[Facts], Iterable[Finding]]

CHECKS: Sequence[Check] = (
    checks_keys.configuration,
    checks_keys.key,
    checks_keys.ssh_key,
    checks_network.endpoints,
    checks_network.clock,
    checks_network.crn_list,
    checks_money.price,
    checks_money.balance,
    checks_money.delegated,
    checks_machine.daemon,
    checks_machine.sockets,
    checks_machine.lingering,
    checks_machine.sandbox,
    checks_machine.suspend,
    checks_machine.disk,
    checks_inventory.integrity,
    checks_inventory.stuck,
    checks_inventory.orphans,
    checks_clients.clients,
)
"""In the order in which they are read: what others hang on comes first."""

_COLOURS = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def examine(facts: Facts) -> list[Finding]:
    """What all checks say of these facts."""
    return [finding for check in CHECKS for finding in check(facts)]


@click.command
@json_option
def doctor() -> int:
    """Look at every prerequisite; say what is wrong and the command that mends it. Exit 1 if anything fails."""
    findings = examine(asyncio.run(gather()))
    failed = any(finding.level == "fail" for finding in findings)
    if as_json():
        output.say_json({"ok": not failed, "findings": [finding.as_dict() for finding in findings]})
    else:
        _show(findings)
    return FAILED if failed else DONE


def _show(findings: Sequence[Finding]) -> None:
    for finding in findings:
        output.say(f"{finding.level}  {plain(finding.check)}: {plain(finding.why)}", _COLOURS[finding.level])
        if finding.fix:
            output.say(f"      fix: {plain(finding.fix)}")
