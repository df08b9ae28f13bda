"""`doctor`: every prerequisite, with pass, warn or fail, why, and the exact fix."""

import asyncio
from collections import Counter
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
    checks_service,
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
    checks_service.units,
    checks_service.sockets,
    checks_service.daemon,
    checks_service.alarms,
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
_SIGNS = {"pass": "ok", "warn": "warn", "fail": "FAIL"}


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
    width = max(len(plain(finding.check)) for finding in findings)
    for finding in findings:
        line = f"{_SIGNS[finding.level]:<4}  {plain(finding.check):<{width}}  {plain(finding.why)}"
        output.say(line, _COLOURS[finding.level])
        for word, text in (("fix", finding.fix), ("you", finding.advice)):
            if text:
                output.say(f"{'':<{width + 8}}{word}: {plain(text)}")
    output.say(_summary(findings))


def _summary(findings: Sequence[Finding]) -> str:
    count = Counter(finding.level for finding in findings)
    if not count["fail"] and not count["warn"]:
        return f"All {len(findings)} are well."
    told = f"{count['pass']} well, {count['warn']} to look at, {count['fail']} wrong."
    if any(finding.fix for finding in findings):
        told += " Run the fixes from top to bottom, then look again."
    return told
