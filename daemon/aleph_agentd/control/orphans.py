"""`orphans`: VMs under our key that the inventory does not know."""

from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import ACT_S, READ_S, with_daemon
from aleph_agentd.control.status import sweep_line
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.control.vms import show
from aleph_agentd.gateway.rpc.client import Client

Answer = dict[str, Any]


@click.command
@click.option("--sweep", is_flag=True, help="Compare with the network first, now.")
@json_option
def orphans(sweep: bool) -> None:
    """List VMs under our key that the inventory does not know; the daemon never touches them."""
    answer = with_daemon(lambda client: _look(client, sweep))
    if as_json():
        output.say_json(answer)
        return
    _say(answer)


async def _look(client: Client, sweep: bool) -> Answer:
    if sweep:
        await client.call("sweep.run", {}, ACT_S)
    found: Answer = await client.call("orphans.list", {}, READ_S)
    return found


def _say(answer: Answer) -> None:
    found, strangers, sweep = answer["orphans"], answer["strangers"], answer.get("sweep") or {}
    if found:
        output.say("Under our key, and not made by any installation of aleph-agentd:")
        show(found)
    if strangers:
        output.say("Under our key, made by another installation of aleph-agentd:")
        show(strangers)
    if not sweep.get("at") or sweep.get("trouble"):
        # An error or an empty answer is never "none" (promise 5).
        output.say("Whether there are more is unknown: the network has not been listed.", "yellow")
    elif not found and not strangers:
        output.say("None: every VM under our key is in the inventory.")
    output.say(f"Last sweep: {sweep_line(sweep)}")
