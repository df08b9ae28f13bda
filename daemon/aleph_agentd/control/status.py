"""`status`: is the daemon well, what runs, what is bound, what ends next."""

from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import ask
from aleph_agentd.control.text import NONE, counted, credits_and_usd, moment, plain, short
from aleph_agentd.control.verb import as_json, json_option

Answer = dict[str, Any]


@click.command
@json_option
def status() -> None:
    """Show the daemon, its money and what needs you."""
    answer = ask("status")
    if as_json():
        output.say_json(answer)
        return
    output.facts(
        [
            ("daemon", _daemon(answer)),
            ("network", plain(answer.get("network"))),
            ("key", _key(answer)),
            ("payer", _payer(answer)),
            ("VMs", _vms(answer)),
            ("next end", _next_end(answer)),
            ("balance", credits_and_usd(answer.get("balance_credits"))),
            ("bound", credits_and_usd(answer.get("reserved_credits"))),
            ("spent in 24 h", _spent(answer)),
            ("burn", _burn(answer)),
            ("expenses", expenses_line(answer.get("expenses") or {})),
            ("policy", _policy(answer.get("policy") or {})),
            ("sweep", sweep_line(answer.get("sweep") or {})),
            ("health", _health(answer.get("health") or {})),
        ]
    )
    _needs_you(answer)


def _daemon(answer: Answer) -> str:
    return (
        f"{plain(answer.get('version'))}, pid {plain(answer.get('pid'))}, "
        f"since {moment(answer.get('started_at'))}, {counted(answer.get('sessions', 0), 'session')}"
    )


def _key(answer: Answer) -> str:
    address = plain(answer.get("address") or NONE)
    trouble = answer.get("key_trouble")
    return f"{address} – not usable: {plain(trouble)}" if trouble else address


def _payer(answer: Answer) -> str:
    grants = answer.get("delegation") or {}
    payer = plain(answer.get("payer") or NONE)
    if not grants.get("delegated"):
        return payer
    if grants.get("granted") is None:
        return f"{payer} – what it grants is not known"
    lacks = "; ".join(f"{kind} is not granted: {why}" for kind, why in grants["missing"].items())
    return f"{payer} – {plain(lacks)}" if lacks else f"{payer}, which grants all that is needed"


def _vms(answer: Answer) -> str:
    counts = {state: count for state, count in (answer.get("vms") or {}).items() if count}
    return ", ".join(f"{plain(count)} {plain(state)}" for state, count in counts.items()) or "none"


def _next_end(answer: Answer) -> str:
    following = answer.get("next_end")
    if not following:
        return NONE
    left = f"in {plain(following.get('expires_in'))} ({moment(following.get('at'))})"
    return f"{plain(following.get('name'))} ({short(following.get('item_hash'))}) {left}"


def _spent(answer: Answer) -> str:
    spent = credits_and_usd(answer.get("spent_day_credits"))
    limit, left = answer.get("daily_limit_credits"), answer.get("budget_left")
    of = "" if limit is None else f" of {credits_and_usd(limit)}"
    return f"{spent}{of}; left to spend: {credits_and_usd(left, 'no limit')}"


def sweep_line(sweep: Answer) -> str:
    """What the last comparison of network and inventory found, in one line."""
    if not sweep.get("at"):
        return f"none yet{_because(sweep)}"
    found = ", ".join(
        f"{sweep[kind]} {kind}"
        for kind in ("orphans", "strangers", "lost", "undead", "stale")
        if sweep.get(kind)
    )
    listed = f"{plain(sweep.get('listed', 0))} on the network"
    adopted = f", {plain(sweep['adopted'])} taken in" if sweep.get("adopted") else ""
    return f"{moment(sweep['at'])}: {listed}, {plain(found) or ('none of them compared' if sweep.get('trouble') else 'all of them known')}{adopted}{_because(sweep)}"


def _health(health: Answer) -> str:
    if not health.get("at"):
        return "not looked at yet"
    watched, unwell = counted(health.get("watched", 0), "VM"), health.get("unwell")
    budget = f"{counted(health.get('connections', 0), 'connection')}, at most {plain(health.get('connections_per_s'))}/s"
    well = f"{plain(unwell)} not well" if unwell else "all well"
    return f"{moment(health['at'])}: {watched} on {counted(health.get('crns', 0), 'CRN')}, {well}; {budget}{_because(health)}"


def _burn(answer: Answer) -> str:
    runway = (answer.get("runway") or {}).get("in_words")
    # The runway is of the last look: what was burnt then may have ended.
    lasts = f"; the balance lasts {plain(runway)}" if runway and answer.get("burn_rate_per_hour") else ""
    return f"{credits_and_usd(answer.get('burn_rate_per_hour'))} per hour{lasts}"


def expenses_line(expenses: Answer) -> str:
    """Our books against the payer's expenses."""
    trouble = f" – trouble: {plain(expenses['trouble'])}" if expenses.get("trouble") else ""
    if not expenses.get("at"):
        return f"not compared yet{trouble}"
    ours, told = (credits_and_usd(expenses.get(f"{name}_credits")) for name in ("ours", "network"))
    untold = f", {plain(expenses['untold'])} not booked yet" if expenses.get("untold") else ""
    drift = f"{plain(expenses.get('drift_percent'))} % unexplained"
    return f"{moment(expenses['at'])}: {told} charged, {ours} by our books, {drift}{untold}{trouble}"


def _policy(policy: Answer) -> str:
    """Which limits hold: everything that was quoted or approved names them."""
    budgets = len(policy.get("projects") or [])
    stale = " – not what is written now" if policy.get("trouble") else ""
    of_projects = f", {counted(budgets, 'project budget')}" if budgets else ""
    return f"{plain(policy.get('version') or NONE)} since {moment(policy.get('since'))}{of_projects}{stale}"


def _because(sweep: Answer) -> str:
    halted = f" – halted: {plain(sweep['halted'])}" if sweep.get("halted") else ""
    return f" – trouble: {plain(sweep['trouble'])}" if sweep.get("trouble") else halted


def _needs_you(answer: Answer) -> None:
    for name, style in (("stuck", "yellow"), ("alerts", "bold red")):
        for line in answer.get(name) or []:
            output.say(f"{name.removesuffix('s')}: {plain(line)}", style)
