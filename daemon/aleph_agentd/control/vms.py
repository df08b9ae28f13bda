"""`vms` and `vm`: what is rented, and everything about one of them."""

from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import READ_S, ask, with_daemon
from aleph_agentd.control.text import NONE, credits_and_usd, ends, minutes, moment, plain, short
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.gateway.rpc.client import Client

Answer = dict[str, Any]

PAGE = 200
DEFAULT_LIMIT, MAX_LIMIT = 50, 10_000
COLUMNS = ("name", "state", "hash", "size", "runtime", "cost so far", "lease ends", "host")


@click.command
@click.option("--ended", "which", flag_value="ended", help="Those that are gone, or were never taken.")
@click.option("--all", "which", flag_value="all", help="Live and ended ones.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIMIT), default=DEFAULT_LIMIT, show_default=True, help="At most."
)
@json_option
def vms(which: str | None, limit: int) -> None:
    """List VMs, newest first."""
    answer = with_daemon(lambda client: _pages(client, which or "live", limit))
    if as_json():
        output.say_json(answer)
        return
    if not answer["vms"]:
        output.say(f"No {which or 'live'} VMs." if which != "all" else "No VMs.")
        return
    show(answer["vms"])
    if answer["more"]:
        output.say(f"{len(answer['vms'])} of {answer['total']}; more with --limit {answer['total']}")


async def _pages(client: Client, which: str, limit: int) -> Answer:
    found: list[Answer] = []
    while True:
        after = found[-1]["item_hash"] if found else ""
        params = {"which": which, "limit": min(PAGE, limit - len(found)), "after": after}
        page = await client.call("vms.list", params, READ_S)
        found += page["vms"]
        if not page["more"] or not page["vms"] or len(found) >= limit:
            return {"vms": found, "total": page["total"], "more": page["more"]}


def show(rows: list[Answer]) -> None:
    """A table of VMs, and below it what is noted about any of them."""
    output.table(COLUMNS, [_row(row) for row in rows], whole=("hash", "size", "cost so far"))
    for row in rows:
        if row.get("note"):
            output.say(f"{plain(row['name']) or short(row['item_hash'])}: {plain(row['note'])}", "yellow")


def _row(row: Answer) -> tuple[str, ...]:
    units = row.get("compute_units")
    return (
        plain(row["name"]) or NONE,
        plain(row["status"]),
        short(row["item_hash"]),
        f"{plain(units)} CU" if units else NONE,
        minutes(row.get("uptime_minutes")),
        credits_and_usd(row.get("cost_so_far")),
        ends(row),
        plain(row.get("crn_name") or row.get("crn_url") or NONE),
    )


@click.command
@click.argument("reference", metavar="NAME|HASH")
@json_option
def vm(reference: str) -> None:
    """Show one VM, what it cost and why it is in its state."""
    answer = ask("vms.get", {"item_hash": reference})
    if as_json():
        output.say_json(answer)
        return
    output.facts((name, value) for name, value in _facts(answer) if value)
    ledger = answer.get("ledger") or []
    if ledger:
        output.say()
        output.table(("at", "account", "amount", "why"), [_movement(row) for row in ledger])


def _facts(row: Answer) -> list[tuple[str, str]]:
    hourly = credits_and_usd(row.get("hourly_cost"))
    made_by = (row.get("client"), row.get("project"), row.get("session"))
    return [
        ("name", plain(row["name"])),
        ("hash", plain(row["item_hash"])),
        ("state", plain(row["status"])),
        ("because", plain(row.get("cause") or "")),
        ("note", plain(row.get("note") or "")),
        ("purpose", plain(row.get("purpose") or "")),
        ("made by", ", ".join(plain(part) for part in made_by if part)),
        ("host", f"{plain(row.get('crn_name') or '')} {plain(row.get('crn_url') or '')}".strip()),
        ("log in", plain(row.get("ssh_command") or "")),
        ("runtime", minutes(row.get("uptime_minutes"))),
        ("cost so far", f"{credits_and_usd(row.get('cost_so_far'))} at {hourly} per hour"),
        ("lease ends", ends(row)),
        ("saved in", plain(row.get("saved_file") or "")),
    ]


def _movement(row: Answer) -> tuple[str, ...]:
    amount = credits_and_usd(row.get("credits"))
    return moment(row.get("at")), plain(row.get("account")), amount, plain(row.get("cause"))
