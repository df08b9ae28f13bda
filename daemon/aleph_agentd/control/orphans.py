"""`orphans` and `recover`: VMs under our key that the inventory does not know, and what the owner does with them."""

import sys
from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import ACT_S, DONE, FAILED, READ_S, ask, with_daemon
from aleph_agentd.control.status import sweep_line
from aleph_agentd.control.terminal import with_passphrase
from aleph_agentd.control.text import counted, ends, plain, short
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.control.verbs import Verbs
from aleph_agentd.control.vms import show
from aleph_agentd.domain.counting import be
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import Client

Answer = dict[str, Any]

RECOVER_S = 300.0
"""Each VM costs a few signatures and one transaction."""


@click.group(cls=Verbs, invoke_without_command=True)
@click.option("--sweep", is_flag=True, help="Compare with the network first, now.")
@click.option(
    "--anyway",
    is_flag=True,
    help="With --sweep: end also what a sweep has halted before: you have looked, and know the passphrase.",
)
@json_option
@click.pass_context
def orphans(context: click.Context, sweep: bool, anyway: bool) -> None:
    """List VMs under our key that the inventory does not know; without a stamp, only you end them."""
    if context.invoked_subcommand is not None:
        return
    if anyway and not sweep:
        raise click.UsageError("--anyway needs --sweep")
    if anyway:
        ask("sweep.run", with_passphrase({"anyway": True}), ACT_S)
        sweep = False
    answer = with_daemon(lambda client: _look(client, sweep))
    if as_json():
        output.say_json(answer)
        return
    _say(answer)


@orphans.command
@click.argument("item_hash", metavar="HASH")
@json_option
def adopt(item_hash: str) -> None:
    """Take a VM into the inventory: with its stamped lease, or one of the default length from now."""
    found = ask("orphans.get", {"item_hash": item_hash})["vm"]["item_hash"]
    answer = ask("orphans.adopt", with_passphrase({"item_hash": found}), ACT_S)
    if as_json():
        output.say_json(answer)
        return
    vm = answer["vm"]
    output.say(f"{plain(vm['name'])} ({short(vm['item_hash'])}) is in the inventory; it ends {ends(vm)}")


@orphans.command
@click.argument("item_hash", metavar="HASH")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def destroy(item_hash: str, yes: bool) -> int:
    """End a VM that the inventory does not know, for good. Its disks are lost."""
    if not yes:
        _ask_first(item_hash)
    answer = ask("orphans.destroy", {"item_hash": item_hash}, ACT_S)
    if as_json():
        output.say_json(answer)
    else:
        vm, how = answer["vm"], "its billing has ended" if answer["billing_ended"] else "not confirmed yet"
        output.say(f"{plain(vm['name'])} ({short(vm['item_hash'])}) is {plain(vm['status'])}: {how}")
    return DONE if answer["billing_ended"] else FAILED


@click.command
@click.option("--others", is_flag=True, help="Also what other installations stamped, into any inventory.")
@json_option
def recover(others: bool) -> None:
    """Make a lost inventory whole again, from what the network has of our VMs and their leases."""
    params = {"others": others}
    answer = ask("recover", with_passphrase(params) if others else params, RECOVER_S)
    if as_json():
        output.say_json(answer)
        return
    taken = len(answer["adopted"])
    output.say(f"{counted(taken, 'VM')} {be(taken, 'was', 'were')} taken into the inventory.")
    if answer["adopted"]:
        show(answer["adopted"])
    if answer["waiting"]:
        waits = f"{answer['waiting']} {be(answer['waiting'], 'waits', 'wait')}"
        output.say(f"{waits} until the network tells price and lease.", "yellow")
    if answer["strangers"]:
        output.say(
            f"{answer['strangers']} {be(answer['strangers'])} of another installation: aleph-agentctl recover --others",
            "yellow",
        )
    for line in answer.get("restoring") or []:
        output.say(plain(line), "yellow")
    if answer["orphans"]:
        carry = be(answer["orphans"], "carries", "carry")
        output.say(f"{answer['orphans']} {carry} no stamp: aleph-agentctl orphans", "yellow")


def _ask_first(item_hash: str) -> None:
    if not sys.stdin.isatty():
        raise Refusal(
            "nothing was destroyed: there is no terminal to ask on",
            f"aleph-agentctl orphans destroy --yes {item_hash[:64]}",
            code="not_confirmed",
        )
    if not click.confirm(f"Destroy the VM {item_hash[:64]}? Its disks are lost.", err=True):
        raise Refusal("nothing was destroyed: you said no", code="not_confirmed")


async def _look(client: Client, sweep: bool) -> Answer:
    if sweep:
        await client.call("sweep.run", {"anyway": False}, ACT_S)
    found: Answer = await client.call("orphans.list", {}, READ_S)
    return found


def _say(answer: Answer) -> None:
    found, strangers, sweep = answer["orphans"], answer["strangers"], answer.get("sweep") or {}
    if found:
        output.say("Under our key, and not made by any installation of aleph-agentd:")
        show(found)
    if answer.get("lost"):
        output.say("Ours, and taken in as soon as the network tells until when they run:")
        show(answer["lost"])
    if strangers:
        output.say("Under our key, made by another installation of aleph-agentd:")
        show(strangers)
    if not sweep.get("at") or sweep.get("trouble"):
        # An error or an empty answer is never "none" (promise 5).
        output.say("Whether there are more is unknown: the network has not been listed.", "yellow")
    elif not (found or strangers or answer.get("lost")):
        output.say("None: every VM under our key is in the inventory.")
    output.say(f"Last sweep: {sweep_line(sweep)}")
