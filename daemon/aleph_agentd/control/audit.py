"""`audit`: what was done, by whom; followed, exported, and checked."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any, TextIO

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import READ_S, with_daemon
from aleph_agentd.control.text import moment, plain, short
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.audit import anchors_in
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import Client

VERIFY_S = 300.0
_POLL_S = 1.0
_PAGE = 500
_SHOWN = 50
_MOST_ANCHORS = 5000
_COLUMNS = ("n", "at", "who", "kind", "vm", "what")

Entry = dict[str, Any]


@click.command
@click.option("--limit", type=click.IntRange(1, _PAGE), default=_SHOWN, help="So many of the newest entries.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--verify", is_flag=True, help="Check the whole chain against its anchors; exit 1: not sound.")
@click.option(
    "--anchors",
    type=click.File(errors="replace"),
    metavar="FILE",
    help="With --verify: old heads too, as the daemon's log has them; - reads stdin (journalctl … | …).",
)
@click.option(
    "--export", type=click.Choice(["jsonl"]), help="Every entry that is kept, one JSON object a line."
)
@json_option
def audit(limit: int, follow: bool, verify: bool, anchors: TextIO | None, export: str | None) -> None:
    """Who did what: calls, decisions and their rules, signatures, messages, changes of state."""
    if sum((follow, verify, export is not None)) > 1:
        raise click.UsageError("--follow, --verify and --export are three things: choose one.")
    if anchors is not None and not verify:
        raise click.UsageError("--anchors goes with --verify.")
    json_lines = as_json() or export is not None
    if verify:
        _tell(with_daemon(lambda client: _verify(client, anchors)))
    elif follow or export:
        first = 0 if export else None
        try:
            with_daemon(lambda client: _print_all(client, first, limit, follow=follow, json_lines=json_lines))
        except KeyboardInterrupt:
            return
    else:
        _print(with_daemon(lambda client: _page(client, None, limit)), json_lines)


async def _page(client: Client, after: int | None, limit: int) -> list[Entry]:
    params = {"limit": limit} if after is None else {"after": after, "limit": limit}
    entries: list[Entry] = (await client.call("audit.list", params, READ_S))["entries"]
    return entries


async def _print_all(
    client: Client, after: int | None, limit: int, *, follow: bool, json_lines: bool
) -> None:
    async for entry in _entries(client, after, limit, follow=follow):
        if json_lines:
            output.say_json(entry)
        else:
            output.say("  ".join(_cells(entry)))


async def _entries(client: Client, after: int | None, limit: int, *, follow: bool) -> AsyncIterator[Entry]:
    """A page at a time: however long the log is, little of it is in memory."""
    page = await _page(client, after, limit if after is None else _PAGE)
    while page or follow:
        for entry in page:
            after = int(entry["n"])
            yield entry
        if not page:
            await asyncio.sleep(_POLL_S)
        page = await _page(client, after or 0, _PAGE)


async def _verify(client: Client, lines: Iterable[str] | None) -> dict[str, Any]:
    params = {"anchors": _newest_anchors(lines or ())}
    verdict: dict[str, Any] = await client.call("audit.verify", params, VERIFY_S)
    return verdict


def _newest_anchors(lines: Iterable[str]) -> list[list[Any]]:
    """Of a journal of any length, the last that one request can carry."""
    newest: deque[list[Any]] = deque(maxlen=_MOST_ANCHORS)
    for line in lines:
        newest.extend([link.n, link.hash] for link in anchors_in(line))
    return list(newest)


def _tell(verdict: dict[str, Any]) -> None:
    if not verdict["ok"]:
        raise Refusal(
            f"the audit log is not sound: {verdict['problem']}",
            "Look at who can write to the inventory; if you have put a backup of it back, that alone explains it.",
            code="audit_not_sound",
            data=verdict,
        )
    if as_json():
        output.say_json(verdict)
        return
    output.say(
        f"The audit log is sound: entries {verdict['first']} to {verdict['last']}, hash {verdict['hash']}."
    )
    output.say(
        f"{verdict['anchors']} anchors agree."
        if verdict["anchors"]
        else "There is no anchor to compare it with yet: a tail that was cut would not be seen."
    )


def _print(entries: list[Entry], json_lines: bool) -> None:
    if json_lines:
        for entry in entries:
            output.say_json(entry)
        return
    output.table(_COLUMNS, map(_cells, entries), whole=_COLUMNS[:5])


def _cells(entry: Entry) -> tuple[str, ...]:
    return (
        str(entry["n"]),
        moment(entry["at"]),
        plain(entry["actor"]),
        plain(entry["kind"]),
        short(entry["item_hash"]),
        plain(entry["text"]),
    )
