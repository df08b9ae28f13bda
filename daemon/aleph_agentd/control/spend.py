"""`spend`: what VMs have cost, for people, for programs, for a spreadsheet."""

import csv
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import READ_S, with_daemon
from aleph_agentd.control.status import expenses_line
from aleph_agentd.control.text import NONE, credits_and_usd, moment, plain, short
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.clock import SystemClock
from aleph_agentd.gateway.rpc.client import Client

Answer = dict[str, Any]

MOST = 100_000
_SPAN = re.compile(r"(\d{1,5})\s*([hd])")
COLUMNS = ("name", "hash", "since", "reserved", "estimated", "settled", "observed", "project")
FIELDS = (
    "item_hash",
    "name",
    "project",
    "session",
    "live",
    "began_at",
    "reserved_credits",
    "reserved_usd",
    "estimated_credits",
    "estimated_usd",
    "settled_credits",
    "settled_usd",
    "observed_credits",
    "observed_usd",
)


class Since(click.ParamType[datetime]):
    """`24h`, `7d`, or an ISO instant (of this machine's time zone, if it names none)."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant."""
        if found := _SPAN.fullmatch(str(value)):
            return SystemClock().now() - timedelta(hours=int(found[1]) * (24 if found[2] == "d" else 1))
        try:
            return datetime.fromisoformat(str(value)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither 24h, 7d nor an instant such as 2026-11-25", param, ctx)


@click.command
@click.option("--since", type=Since(), default="24h", show_default=True, help="24h, 7d, or an ISO instant.")
@click.option("--csv", "as_csv", is_flag=True, help="One line per VM, for a spreadsheet.")
@json_option
def spend(since: datetime, as_csv: bool) -> None:
    """Show what VMs have cost: reserved, estimated by our clock, settled, and observed on the network."""
    answer = with_daemon(lambda client: _pages(client, since))
    if as_json():
        output.say_json(answer)
    elif as_csv:
        _write_csv(answer["vms"])
    else:
        _show(answer)


async def _pages(client: Client, since: datetime) -> Answer:
    found: list[Answer] = []
    while True:
        after = found[-1]["item_hash"] if found else ""
        page = await client.call("spend", {"since": since.isoformat(), "after": after}, READ_S)
        found += page["vms"]
        if not page["more"] or not page["vms"] or len(found) >= MOST:
            return {**page, "vms": found, "more": page["more"] and len(found) >= MOST}


def _write_csv(rows: list[Answer]) -> None:
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(FIELDS)
    for row in rows:
        lines.writerow([_cell(row.get(field)) for field in FIELDS])


def _cell(value: object) -> str:
    """A spreadsheet must not take a name or a claimed directory for a formula."""
    text = "" if value is None else plain(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _show(answer: Answer) -> None:
    rows = answer["vms"]
    if rows:
        output.table(COLUMNS, [_row(row) for row in rows], whole=("hash", *COLUMNS[3:7]))
    else:
        output.say("Nothing was spent.")
    output.say()
    output.facts(
        [
            ("spent in 24 h", credits_and_usd(answer.get("spent_day_credits"))),
            ("bound", credits_and_usd(answer.get("reserved_credits"))),
            ("left to spend", credits_and_usd(answer.get("budget_left"), "no limit")),
            ("expenses", expenses_line(answer.get("expenses") or {})),
        ]
    )


def _row(row: Answer) -> tuple[str, ...]:
    amounts = (row.get(f"{name}_credits") for name in ("reserved", "estimated", "settled", "observed"))
    return (
        plain(row.get("name")) or NONE,
        short(row.get("item_hash")),
        moment(row.get("began_at")),
        *(credits_and_usd(amount, NONE) for amount in amounts),
        plain(row.get("project") or NONE),
    )
