"""`destroy` and `extend`: the two things that a human does to a VM."""

import asyncio
import math
import sys
from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import DONE, FAILED, READ_S, exit_code, use_tool, with_daemon
from aleph_agentd.control.text import credits_and_usd, minutes, moment, plain, short
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import Client

Answer = dict[str, Any]

MAX_AT_ONCE = 50


@click.command
@click.argument("references", nargs=-1, required=True, metavar="NAME|HASH...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def destroy(references: tuple[str, ...], yes: bool) -> int:
    """End VMs now, for good. Their disks are lost."""
    if len(references) > MAX_AT_ONCE:
        raise click.UsageError(f"at most {MAX_AT_ONCE} VMs at once")
    found = with_daemon(lambda client: _look_up(client, references))
    if not yes:
        _ask_first(found)
    # Confirmed against exact hashes: a name may mean another VM by now.
    results = with_daemon(lambda client: _destroy_all(client, found))
    if as_json():
        output.say_json({"results": [_as_answer(result) for result in results]})
    return max((_tell(row, result) for row, result in zip(found, results, strict=True)), default=DONE)


async def _look_up(client: Client, references: tuple[str, ...]) -> list[Answer]:
    rows = [await client.call("vms.get", {"item_hash": reference}, READ_S) for reference in references]
    return list({row["item_hash"]: row for row in rows}.values())


def _ask_first(rows: list[Answer]) -> None:
    if not sys.stdin.isatty():
        raise Refusal(
            "nothing was destroyed: there is no terminal to ask on",
            f"aleph-agentctl destroy --yes {' '.join(short(row['item_hash']) for row in rows)}",
            code="not_confirmed",
        )
    for row in rows:
        click.echo(f"{_name(row)} is {plain(row['status'])}: {_cost(row, 'cost_so_far')} so far", err=True)
    what = "this VM" if len(rows) == 1 else f"these {len(rows)} VMs"
    if not click.confirm(f"Destroy {what}? The disks are lost.", err=True):
        raise Refusal("nothing was destroyed: you said no", code="not_confirmed")


async def _destroy_all(client: Client, rows: list[Answer]) -> list[Answer | Refusal]:
    return await asyncio.gather(*(_destroy(client, row["item_hash"]) for row in rows))


async def _destroy(client: Client, item_hash: str) -> Answer | Refusal:
    try:
        return await use_tool(client, "aleph_destroy_vm", {"item_hash": item_hash})
    except Refusal as refusal:
        return refusal


def _as_answer(result: Answer | Refusal) -> Answer:
    return {"error": result.as_dict()} if isinstance(result, Refusal) else result


def _tell(row: Answer, result: Answer | Refusal) -> int:
    """Say how it went with one of them; its exit code."""
    if isinstance(result, Refusal):
        output.complain(
            Refusal(f"{_name(row)}: {result.message}", result.hint, code=result.code), as_json=False
        )
        return exit_code(result)
    if not as_json():
        runtime = minutes(result.get("runtime_minutes"))
        cost = _cost(result, "estimated_cost_incurred")
        output.say(f"{_name(row)} {plain(result['status'])} after {runtime}; it cost {cost}")
        if result.get("note"):
            output.say(f"  {plain(result['note'])}")
    # Ordered but not confirmed: the daemon goes on, but a script must not take it for done.
    return DONE if result.get("billing_ended", True) else FAILED


@click.command
@click.argument("reference", metavar="NAME|HASH")
@click.argument("hours", type=click.FloatRange(0, 8760, min_open=True))
@json_option
def extend(reference: str, hours: float) -> int:
    """Move the end of a VM's lease HOURS later, if the policy allows."""
    if math.isnan(hours):
        raise click.BadParameter("is not a number", param_hint="HOURS")
    answer = with_daemon(lambda client: _extend(client, reference, hours))
    waits = bool(answer.get("approval_id"))
    if as_json():
        output.say_json(answer)
        return FAILED if waits else DONE
    if waits:
        output.say(plain(answer["approval_message"]), "yellow")
        return FAILED
    output.say(
        f"{_name(answer)} now ends in {plain(answer.get('expires_in'))} "
        f"({moment(answer.get('new_ttl_expires_at'))}); "
        f"the additional time costs {_cost(answer, 'additional_cost_estimate')}"
    )
    for warning in answer.get("warnings") or []:
        output.say(plain(warning), "yellow")
    return DONE


async def _extend(client: Client, reference: str, hours: float) -> Answer:
    return await use_tool(client, "aleph_extend_vm", {"item_hash": reference, "additional_hours": hours})


def _name(row: Answer) -> str:
    return f"{plain(row['name'])} ({short(row['item_hash'])})"


def _cost(row: Answer, field: str) -> str:
    return credits_and_usd(row.get(field))
