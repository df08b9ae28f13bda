"""`freeze`, `unfreeze`, `panic`: the owner's buttons."""

import asyncio
import sys
from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import DONE, FAILED, READ_S, ask, with_daemon
from aleph_agentd.control.terminal import with_passphrase
from aleph_agentd.control.text import counted, moment, plain
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.counting import be
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import Client

CONFIRMATION = "destroy every VM"
_LOOK_S = 1.0


@click.command
@click.argument("reason", default="")
@click.option("--project", default="", help="Only the creates of this project directory.")
@json_option
def freeze(reason: str, project: str) -> None:
    """Stop creates and extends, in every session at once. VMs that run go on and end on time."""
    _show(ask("freeze", {"reason": reason, "project": project}))


@click.command
@click.option("--project", default=None, help="Only what is frozen for this project directory.")
@json_option
def unfreeze(project: str | None) -> None:
    """Let VMs be created and extended again. Asks for the owner's passphrase."""
    answer = ask("unfreeze", with_passphrase({} if project is None else {"project": project}))
    if not as_json():
        output.say(f"{counted(answer['lifted'], 'freeze')} lifted")
    _show(answer)


def _show(answer: dict[str, Any]) -> None:
    if as_json():
        output.say_json(answer)
        return
    for one in answer["freezes"]:
        what = f"creates of {plain(one['project'])}" if one["project"] else "creates and extends"
        output.say(
            f"{what}: frozen since {moment(one['at'])} by {plain(one['by'])}: {plain(one['reason'])}",
            "yellow",
        )
    if not answer["freezes"]:
        output.say("nothing is frozen", "green")


@click.command
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def panic(yes: bool) -> int:
    """Freeze everything and destroy every VM under our key; returns when the network confirms it.

    The daemon goes on with it, also when this command is stopped, and after a restart.
    """
    if not yes:
        _ask_first()
    return with_daemon(panic_until_done)


def _ask_first() -> None:
    live = ask("vms.list", {"which": "live", "limit": 1})["total"]
    if not sys.stdin.isatty():
        raise Refusal(
            "nothing was destroyed: there is no terminal to ask on",
            "aleph-agentctl panic --yes",
            code="not_confirmed",
        )
    click.echo(
        f"This ends {counted(live, 'VM')}, and whatever else the network lists under our key. The disks are lost.",
        err=True,
    )
    if click.prompt(f"Type {CONFIRMATION!r} to go on", err=True) != CONFIRMATION:
        raise Refusal("nothing was destroyed: you did not say so", code="not_confirmed")


async def panic_until_done(client: Client) -> int:
    """Panic, and follow it until the network confirms; the exit code."""
    answer = await client.call("panic", {"confirm": CONFIRMATION}, READ_S)
    said = ""
    while not answer["done"]:
        if (words := _words(answer)) != said:
            said = words
            click.echo(words, err=True)
        await asyncio.sleep(_LOOK_S)
        answer = await client.call("panic.status", {}, READ_S)
        if not answer["panics"]:
            raise Refusal("the panic was lifted before it was done", "aleph-agentctl vms", code="lifted")
    if as_json():
        output.say_json(answer)
    else:
        output.say("the network confirms: nothing under our key is billed any more", "green")
        if answer["erasing"]:
            wait = f"{counted(answer['erasing'], 'VM')} {be(answer['erasing'], 'waits', 'wait')}"
            output.say(f"{wait} until the erase is confirmed by the CRN; that costs nothing")
        output.say("creates and extends stay frozen: aleph-agentctl unfreeze")
    return DONE if answer["done"] else FAILED


def _words(answer: dict[str, Any]) -> str:
    if answer["billing"] is None:
        return "looking at the network and the inventory"
    listed, billed = counted(answer["listed"], "VM"), counted(answer["billing"], "row")
    trouble = f" ({plain(answer['trouble'])})" if answer["trouble"] else ""
    return f"{billed} still billed, {listed} on the network's list{trouble}"
