"""`nodes` and `balance`: where a VM could run, and what there is to pay it with."""

from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import use_tool, with_daemon
from aleph_agentd.control.text import NONE, credits_and_usd, plain, short
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.gateway.rpc.client import Client

Answer = dict[str, Any]

COLUMNS = ("name", "hash", "per hour", "score", "free memory", "GPUs", "note")
DEFAULT_LIMIT, MAX_LIMIT = 20, 1000


@click.command
@click.option("--size", "min_compute_units", type=click.IntRange(1, 64), default=1, help="With room for.")
@click.option("--gpu", "gpu_model", help="With a free GPU: `any`, or a model.")
@click.option("--cheapest", is_flag=True, help="The cheapest first, not the best.")
@click.option("--name", help="Part of the node's name.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIMIT), default=DEFAULT_LIMIT, show_default=True, help="At most."
)
@json_option
def nodes(cheapest: bool, limit: int, gpu_model: str | None, **given: Any) -> None:
    """List the nodes (CRNs) that have room for a VM, the best first."""
    arguments = {name: value for name, value in given.items() if value is not None}
    arguments["sort"] = "cheapest" if cheapest else "best"
    if gpu_model:
        arguments |= {"gpu": True} if gpu_model == "any" else {"gpu_model": gpu_model}
    answer = with_daemon(lambda client: _pages(client, arguments, limit))
    if as_json():
        output.say_json(answer)
        return
    if not answer["crns"]:
        output.say("No node has room for that now.")
        return
    output.table(COLUMNS, [_row(row) for row in answer["crns"]], whole=COLUMNS[1:5])
    more = "" if len(answer["crns"]) == answer["total"] else f"; more with --limit {answer['total']}"
    output.say(f"{len(answer['crns'])} of {answer['total']}, as of {plain(answer['list_age'])} ago{more}")


async def _pages(client: Client, arguments: Answer, limit: int) -> Answer:
    found: list[Answer] = []
    page = 1
    while True:
        answer = await use_tool(client, "aleph_list_crns", {**arguments, "page": page})
        found += answer["crns"]
        page += 1
        if page > answer["pages"] or len(found) >= limit:
            shown = {name: answer[name] for name in ("total", "list_age")}
            return {"crns": found[:limit], **shown}


def _row(row: Answer) -> tuple[str, ...]:
    failed = row.get("recent_failures")
    terms = f"terms {short(row['terms_and_conditions'])}" if row.get("terms_and_conditions") else ""
    return (
        plain(row["name"]) or NONE,
        short(row["hash"]),
        credits_and_usd(row.get("hourly_cost")),
        f"{row['score']:.2f}",
        f"{row['free_memory_mib'] / 1024:,.0f} GiB",
        plain(", ".join(row.get("gpus") or [])) or NONE,
        ", ".join(filter(None, [terms, f"failed {failed} times lately" if failed else ""])),
    )


@click.command
@json_option
def balance() -> None:
    """Show the credits, how long they last, and how many VMs they buy."""
    answer = with_daemon(lambda client: use_tool(client, "aleph_check_balance", {}))
    if as_json():
        output.say_json(answer)
        return
    affordable = [f"{count} × {size}" for size, count in (answer.get("affordable") or {}).items() if count]
    hours = answer.get("runway_hours")
    output.facts(
        [
            ("balance", credits_and_usd(answer.get("balance_credits"))),
            ("bound", credits_and_usd(answer.get("reserved_credits"))),
            ("burn", f"{credits_and_usd(answer.get('burn_rate_per_hour'))} per hour"),
            ("lasts", NONE if hours is None else f"{hours:g} hours"),
            ("left to spend", credits_and_usd(answer.get("budget_left"), "no limit")),
            ("live VMs", plain(answer.get("active_vm_count"))),
            ("affordable", plain(" or ".join(affordable)) or "none"),
            ("buy credits", plain(answer.get("buy_credits_url"))),
        ]
    )
    for line in answer.get("warnings") or []:
        output.say(plain(line), "yellow")
