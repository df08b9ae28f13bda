"""`create`: rent a VM, with the same tool, rules and quote that an agent gets."""

import sys
from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import DONE, FAILED, use_tool, with_daemon
from aleph_agentd.control.text import credits_and_usd, moment, plain, short
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.untrusted import stripped
from aleph_agentd.gateway.rpc.client import Client

Answer = dict[str, Any]

CREATE, WAIT = "aleph_create_vm", "aleph_wait_vm"
_A_LOOK_S = 40
_LOOKS = 15
"""Ten minutes in all: who has waited that long looks at `vm`."""
_MOST_SETUP = 32_000
_ARGUMENTS = {"size": "compute_units", "hours": "ttl_hours", "image": "os_image", "crn": "crn_hash"}


@click.command
@click.argument("name")
@click.option("--size", type=int, metavar="CU", help="Compute units: 1 vCPU, 2 GiB, 20 GiB each.")
@click.option("--hours", type=float, help="How long the lease runs; then the VM is destroyed.")
@click.option("--image", help="ubuntu22, ubuntu24 or debian12.")
@click.option("--crn", help="A node by name, hash or URL (see: nodes); else a good one is chosen.")
@click.option("--gpu", help="`any`, or a model; it sets the size.")
@click.option("--purpose", help="What it is for, in your words.")
@click.option("--max-hourly-cost", type=float, metavar="CREDITS", help="Refuse what costs more per hour.")
@click.option("--accept-terms", metavar="HASH", help="The node's terms and conditions, if you accept them.")
@click.option("--dry-run", is_flag=True, help="Only say what it would cost, and where.")
@click.option(
    "--setup", metavar="FILE|@NAME", help="A script that it runs once, as root; or a template of yours."
)
@click.option("--idle-minutes", type=int, metavar="N", help="Destroy it early when it was idle for so long.")
@click.option(
    "--save",
    "save_on_expiry",
    multiple=True,
    metavar="PATH",
    help="Keep this file or directory before its lease ends; may be repeated.",
)
@click.option("--wait", is_flag=True, help="Return when SSH answers, and its setup has ended.")
@click.option("--yes", is_flag=True, help="Do not ask about the price.")
@json_option
def create(wait: bool, yes: bool, setup: str | None, **given: Any) -> int:
    """Rent a VM named NAME until its lease ends."""
    given["save_on_expiry"] = list(given["save_on_expiry"]) or None
    given["setup"] = _script(setup) if setup else None
    arguments = {_ARGUMENTS.get(name, name): value for name, value in given.items() if value is not None}
    answer = with_daemon(lambda client: use_tool(client, CREATE, arguments))
    if answer["requires_confirmation"] and not answer["dry_run"]:
        _ask(answer, yes=yes, name=str(given["name"]))
        confirmed = {**arguments, "confirmed": True, "quote_id": answer["quote_id"]}
        answer = with_daemon(lambda client: use_tool(client, CREATE, confirmed))
    if wait and answer["item_hash"]:
        answer |= with_daemon(lambda client: _until_ssh(client, answer["item_hash"]))
    if as_json():
        output.say_json(answer)
    else:
        _tell(answer)
    waits = bool(answer.get("approval_id")) or (wait and not answer.get("ready", True))
    return FAILED if waits else DONE


def _script(place: str) -> str:
    if place.startswith("@"):
        return place  # the daemon knows its templates
    try:
        with click.open_file(place, encoding="utf-8") as file:
            return str(file.read(_MOST_SETUP + 1))  # one too many is refused with the words of the tool
    except UnicodeDecodeError:
        raise Refusal(f"{plain(place)} is no text", code="bad_input") from None
    except OSError as error:
        raise Refusal(f"{plain(place)} cannot be read: {error.strerror}", code="bad_input") from None


def _ask(answer: Answer, *, yes: bool, name: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refusal(
            f"nothing was created: it costs {_price(answer)}, and there is no terminal to ask on",
            f"aleph-agentctl create {plain(name)} --yes …",
            code="not_confirmed",
        )
    click.echo(f"{plain(name)} on {plain(answer['crn_name'])}: {_price(answer)}", err=True)
    if not click.confirm("Create it?", err=True):
        raise Refusal("nothing was created: you said no", code="not_confirmed")


async def _until_ssh(client: Client, item_hash: str) -> Answer:
    answer: Answer = {}
    for _ in range(_LOOKS):
        answer = await use_tool(client, WAIT, {"item_hash": item_hash, "timeout_s": _A_LOOK_S})
        if answer["ready"]:
            break
    return answer


def _tell(answer: Answer) -> None:
    if answer.get("approval_id"):
        output.say(plain(answer["approval_message"]), "yellow")
        return
    output.facts((name, value) for name, value in _facts(answer) if value)
    for warning in answer.get("warnings") or []:
        output.say(plain(warning), "yellow")


def _facts(answer: Answer) -> list[tuple[str, str]]:
    end = answer.get("ttl_expires_at")
    left = plain(answer.get("expires_in") or "")
    return [
        ("name", plain(answer["name"])),
        ("hash", short(answer.get("item_hash") or "")),
        ("state", plain(answer["status"])),
        ("node", plain(answer.get("crn_name") or "")),
        ("chosen", plain(answer.get("placement") or "")),
        ("costs", _price(answer)),
        ("lease ends", f"in {left} ({moment(end)})" if end and left else ""),
        ("log in", plain(answer.get("ssh_command") or "")),
        ("setup", plain(answer.get("setup") or "")),
        ("it said", stripped(answer.get("setup_output") or "")),
    ]


def _price(answer: Answer) -> str:
    hourly, total = (credits_and_usd(answer.get(field)) for field in ("hourly_cost", "total_cost_estimate"))
    return f"{hourly} per hour, {total} for the lease"
