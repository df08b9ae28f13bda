"""`events`: what happens, as it happens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import READ_S, with_daemon
from aleph_agentd.control.text import moment, plain, short
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.gateway.rpc.client import Client, HungUp, NoAnswer

Event = dict[str, Any]


@click.command
@click.option("--since", type=click.IntRange(min=0), metavar="ID", help="Begin after this event.")
@click.option("--no-follow", is_flag=True, help="Stop at the newest event (from the first one, or --since).")
@json_option
def events(since: int | None, no_follow: bool) -> None:
    """Follow what happens, until Ctrl-C; --json gives one object per line."""
    json_lines = as_json()
    try:
        with_daemon(lambda client: _print_events(client, since, not no_follow, json_lines))
    except KeyboardInterrupt:
        return


async def _print_events(client: Client, since: int | None, follow: bool, json_lines: bool) -> None:
    newest = await _watch(client, None)
    # A number above the newest one is of a lost inventory: what comes now is below it.
    seen = min(since, newest) if since is not None else newest if follow else 0
    if not follow and seen >= newest:
        return
    await _watch(client, seen)
    async for event in _events(client, patience_s=None if follow else READ_S):
        if event["id"] <= seen:
            continue
        seen = event["id"]
        _print(event, json_lines)
        if not follow and seen >= newest:
            return
    raise HungUp(
        "the daemon closed the connection", f"once it runs again: aleph-agentctl events --since {seen}"
    )


async def _watch(client: Client, after: int | None) -> int:
    """Watch from an event on, or from now on; the answer is the newest event."""
    params = {} if after is None else {"after_id": after}
    answer = await client.call("events.watch", params, READ_S)
    return int(answer["last_id"] or 0)


async def _events(client: Client, patience_s: float | None) -> AsyncIterator[Event]:
    """Events until the daemon hangs up; one that is due must come within the patience."""
    notices = client.notifications()
    while True:
        try:
            async with asyncio.timeout(patience_s):
                notice = await anext(notices, None)
        except TimeoutError:
            raise NoAnswer("the daemon does not send its events", "aleph-agentctl status") from None
        if notice is None:
            return
        if notice.method == "event":
            yield notice.params


def _print(event: Event, json_lines: bool) -> None:
    if json_lines:
        output.say_json(event)
        return
    what = f"{plain(event['name'])} ({short(event['item_hash'])})" if event.get("item_hash") else "daemon"
    output.say(
        f"{event['id']}  {moment(event['at'])}  {plain(event['kind'])}  {what}: {plain(event['text'])}"
    )
