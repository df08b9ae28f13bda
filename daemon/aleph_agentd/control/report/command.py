"""`report`: gathers, sums, and writes the page."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from aleph_agentd import private_files
from aleph_agentd.control import output
from aleph_agentd.control.daemon import READ_S, with_daemon
from aleph_agentd.control.report.sums import at
from aleph_agentd.control.spend import Since
from aleph_agentd.control.text import counted
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import Client

Answer = dict[str, Any]

_MOST_VMS = 20_000
_ENTRIES, _MOST_PAGES = 500, 40
"""The newest 20,000 entries of the audit log are looked through."""


@click.command
@click.option(
    "--html",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write the page.",
)
@click.option("--since", type=Since(), default="30d", show_default=True, help="24h, 7d, or an ISO instant.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
def report(file: Path | None, since: datetime, force: bool) -> None:
    """Write one self-contained page: spending by day, VM, project and session, lifetimes, denials."""
    if file is None and not as_json():
        raise click.UsageError("name a file: --html report.html (or --json for the data)")
    if file is not None and file.exists() and not force:
        raise Refusal(f"{file} is there already; nothing was written", "Name another file, or add --force.")
    found, denials, status = with_daemon(lambda client: _gather(client, since))
    if file is not None:
        _write(file, found, denials, status, since)
    if as_json():
        output.say_json({**found, "denials": denials, **({"file": str(file)} if file else {})})
    else:
        output.say(
            f"{file}: {counted(len(found['vms']), 'VM')}, {counted(len(denials), 'denial')}; readable by you alone."
        )


def _write(file: Path, found: Answer, denials: list[Answer], status: Answer, since: datetime) -> None:
    # Only this verb needs it: the others start without.
    from aleph_agentd.control.report.page import page

    until = at(found["until"]) or since
    try:
        private_files.write(file, [page(found, denials, status, since, until).encode()])
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror or error}", "Name a file that you may write.") from None


async def _gather(client: Client, since: datetime) -> tuple[Answer, list[Answer], Answer]:
    status = await client.call("status", {}, READ_S)
    return await _vms(client, since), await _denials(client, since), status


async def _vms(client: Client, since: datetime) -> Answer:
    found: list[Answer] = []
    while True:
        after = found[-1]["item_hash"] if found else ""
        page = await client.call("report", {"since": since.isoformat(), "after": after}, READ_S)
        found += page["vms"]
        if not page["more"] or not page["vms"] or len(found) >= _MOST_VMS:
            return {**page, "vms": found, "more": page["more"] and len(found) >= _MOST_VMS}


async def _denials(client: Client, since: datetime) -> list[Answer]:
    """The newest first, from the audit log's end backwards."""
    found: list[Answer] = []
    entries = (await client.call("audit.list", {"limit": _ENTRIES}, READ_S))["entries"]
    for _ in range(_MOST_PAGES):
        lately = [entry for entry in entries if (at(entry["at"]) or since) >= since]
        found += [entry for entry in reversed(lately) if _denies(entry)]
        if len(lately) < len(entries) or not entries:
            break
        entries = await _entries_before(client, int(entries[0]["n"]))
    return found


def _denies(entry: Answer) -> bool:
    """What was allowed is a decision too."""
    return entry["kind"] == "decision" and ": denied by " in entry["text"]


async def _entries_before(client: Client, n: int) -> list[Answer]:
    """A page of them, oldest first; the daemon may give less at once than it is asked for."""
    after, found = max(0, n - 1 - _ENTRIES), list[Answer]()
    while after < n - 1:
        page = (await client.call("audit.list", {"after": after, "limit": n - 1 - after}, READ_S))["entries"]
        if not page:
            break
        found += page
        after = int(page[-1]["n"])
    return [entry for entry in found if entry["n"] < n]
