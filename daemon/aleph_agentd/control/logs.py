"""`logs`: a VM's console, as its CRN keeps it."""

import re
from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import READ_S, use_tool, with_daemon
from aleph_agentd.control.run import text_of
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.guest_jobs import PAGE
from aleph_agentd.gateway.rpc.client import Client

TOOL = "aleph_vm_logs"
_MOST_PAGES = 16
"""Of 4 KiB each: more of it no daemon keeps."""
_NEWER = re.compile(r"Newer: offset=([0-9]{1,15})\.")


@click.command
@click.argument("reference", metavar="NAME|HASH")
@click.option("--pages", type=click.IntRange(1, _MOST_PAGES), default=2, help="How many pages of 4 KiB.")
@json_option
def logs(reference: str, pages: int) -> int:
    """Show the end of a VM's console log, also when SSH does not answer."""
    answer = with_daemon(lambda client: _logs(client, reference, pages))
    if as_json():
        output.say_json(answer)
    elif answer["log"]:
        click.echo(answer["log"], nl=not answer["log"].endswith("\n"))
    return 0


async def _logs(client: Client, reference: str, pages: int) -> dict[str, Any]:
    """The last pages, read forward to the end."""
    vm = await client.call("vms.get", {"item_hash": reference}, READ_S)
    where = {"item_hash": vm["item_hash"]}
    newest = await use_tool(client, TOOL, where)
    page = await use_tool(client, TOOL, {**where, "offset": max(0, newest["total"] - pages * PAGE)})
    begin, text = page["offset"], text_of(page["log"])
    for _ in range(pages):
        newer = _NEWER.search(page["next"])
        if newer is None:
            break
        page = await use_tool(client, TOOL, {**where, "offset": int(newer[1])})
        text += text_of(page["log"])
    return {**page, "log": text, "offset": begin}
