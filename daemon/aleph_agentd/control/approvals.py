"""`approvals`, `approve`, `deny`, `passphrase`: what only a human decides."""

from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import ACT_S, DONE, FAILED, ask
from aleph_agentd.control.terminal import PARAMETER, ask_passphrase, with_passphrase
from aleph_agentd.control.text import NONE, credits_and_usd, moment, plain
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.control.verbs import Verbs
from aleph_agentd.domain.errors import Refusal

Answer = dict[str, Any]


@click.command
@click.option("--all", "everything", is_flag=True, help="Also what was decided.")
@json_option
def approvals(everything: bool) -> None:
    """List the requests that wait for you: who asks, for what, and how much it may cost."""
    answer = ask("approvals.list", {"all": everything})
    if as_json():
        output.say_json(answer)
        return
    for row in answer["approvals"]:
        show_request(row, answer)
        output.say()
    if not answer["approvals"]:
        output.say("Nothing waits for you.")
    if not answer["passphrase_set"]:
        output.say("There is no passphrase yet, so nothing can be approved: aleph-agentctl passphrase set")


@click.command
@click.argument("approval_id", metavar="ID")
@json_option
def approve(approval_id: str) -> int:
    """Allow a request; the daemon carries it out. Asks for your passphrase."""
    if not as_json():
        _show_one(approval_id)
    answer = ask("approvals.approve", with_passphrase({"id": approval_id}), ACT_S)
    row = answer["approval"]
    if as_json():
        output.say_json(answer)
    elif row["state"] == "used":
        output.say(f"{plain(row['id'])} is approved and being carried out: {plain(row['what'])}", "green")
    else:
        why = plain(row["outcome"]) or "it is still being tried"
        output.say(f"{plain(row['id'])} is approved, but not carried out: {why}", "yellow")
    return DONE if row["state"] == "used" else FAILED


@click.command
@click.argument("approval_id", metavar="ID")
@json_option
def deny(approval_id: str) -> None:
    """Refuse a request."""
    answer = ask("approvals.deny", {"id": approval_id})
    if as_json():
        output.say_json(answer)
        return
    row = answer["approval"]
    output.say(f"{plain(row['id'])} is denied: {plain(row['what'])}")


@click.group(cls=Verbs)
@json_option
def passphrase() -> None:
    """Your passphrase: what approving, and loosening anything, takes."""


@passphrase.command(name="set")
@json_option
def set_passphrase() -> None:
    """Set it, or change it; typed on a terminal, never an argument."""
    old = ask_passphrase("Old passphrase") if ask("passphrase.state")["set"] else None
    new = ask_passphrase("New passphrase")
    if ask_passphrase("The same again") != new:
        raise Refusal("the two are not the same; nothing was changed", "aleph-agentctl passphrase set")
    answer = ask("passphrase.set", {PARAMETER: new, "old_passphrase": old})
    if as_json():
        output.say_json(answer)
        return
    output.say("The passphrase is set.", "green")


def _show_one(approval_id: str) -> None:
    answer = ask("approvals.list", {"all": False})
    for row in answer["approvals"]:
        if row["id"] == approval_id:
            show_request(row, answer)


def show_request(row: Answer, answer: Answer) -> None:
    """One request: who asks, for what, and how much it may cost."""
    decided = f"{plain(row['decided_by'])} {moment(row['decided_at'])}" if row["decided_at"] else ""
    waiting = row["state"] == "waiting"
    left = credits_and_usd(answer["budget_left"], "no limit")
    output.facts(
        [
            ("id", plain(row["id"])),
            ("state", plain(row["state"]) + (f", {plain(row['expires_in'])} left" if waiting else "")),
            ("what", plain(row["what"])),
            ("at most", credits_and_usd(row["at_most_credits"])),
            ("left today", left),
            ("client", f"{plain(row['client'])}, process {row['pid']} of uid {row['uid']}"),
            ("started by", plain(row["parents"]) or NONE),
            ("project", f"{plain(row['project']) or NONE} (its own claim)"),
            *([("decided", decided)] if decided else []),
            *([("outcome", plain(row["outcome"]))] if row["outcome"] else []),
        ]
    )
