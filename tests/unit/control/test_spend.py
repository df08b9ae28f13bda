"""`aleph-agentctl spend`: people, programs and spreadsheets see the same."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aleph_agentd.control.daemon import USAGE

from .conftest import Cli, FakeDaemon


def _line(name: str, **changes: Any) -> dict[str, Any]:
    amounts = {"reserved": 6.4, "estimated": 1.425, "settled": 0.0, "observed": None}
    money = {f"{key}_credits": value for key, value in amounts.items()}
    money |= {f"{key}_usd": None if value is None else value / 100 for key, value in amounts.items()}
    facts = {
        "item_hash": name.encode().hex().ljust(64, "0"),
        "name": name,
        "project": "/work",
        "session": "s",
    }
    return facts | {"live": True, "began_at": "2026-11-23T12:00:00Z"} | money | changes


def _says(daemon: FakeDaemon, *pages: list[dict[str, Any]]) -> None:
    left = list(pages)

    def answer(_: Any, __: Any) -> dict[str, Any]:
        vms = left.pop(0)
        return {
            "vms": vms,
            "total": sum(map(len, pages)),
            "more": bool(left),
            "spent_day_credits": 3.0,
            "reserved_credits": 6.4,
            "budget_left": None,
            "expenses": {"at": "2026-11-23T12:00:00Z", "network_credits": 3.1, "ours_credits": 3.0},
        }

    daemon.says("spend", answer)


def test_every_page_is_shown_with_the_sums(daemon: FakeDaemon, cli: Cli) -> None:
    """What is not told is a dash."""
    _says(daemon, [_line("one")], [_line("two", observed_credits=1.5)])
    assert cli.run("spend") == 0
    assert "one" in cli.out
    assert "1.50 cr (US$0.015)" in cli.out
    assert "no limit" in cli.out
    assert daemon.asked[1][1]["after"] == _line("one")["item_hash"]


def test_json_is_one_document(daemon: FakeDaemon, cli: Cli) -> None:
    """All pages in one."""
    _says(daemon, [_line("one")], [_line("two")])
    assert cli.run("spend", "--json") == 0
    assert [vm["name"] for vm in cli.json["vms"]] == ["one", "two"]


def test_csv_is_one_line_per_vm_and_no_formula(daemon: FakeDaemon, cli: Cli) -> None:
    """A directory that a client claims is not run by a spreadsheet."""
    _says(daemon, [_line("one", project='=cmd|" /C calc"!A0'), _line("two", project="a,b\nc")])
    assert cli.run("spend", "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(cli.out)))
    assert [row["name"] for row in rows] == ["one", "two"]
    assert rows[0]["project"].startswith("'=")
    assert rows[0]["observed_credits"] == ""
    assert rows[1]["project"] == "a,b\\nc"


@pytest.mark.parametrize(
    ("since", "ago"), [("24h", timedelta(hours=24)), ("7d", timedelta(days=7)), ("1970-01-02T00:00Z", None)]
)
def test_since_is_a_span_or_an_instant(
    daemon: FakeDaemon, cli: Cli, since: str, ago: timedelta | None
) -> None:
    """Sent as an instant."""
    _says(daemon, [])
    assert cli.run("spend", "--since", since) == 0
    asked = datetime.fromisoformat(daemon.asked[0][1]["since"])
    wanted = datetime(1970, 1, 2, tzinfo=UTC) if ago is None else datetime.now(UTC) - ago
    assert abs(asked - wanted) < timedelta(minutes=5)
    assert "Nothing was spent." in cli.out


def test_what_is_no_time_is_a_usage_error(cli: Cli) -> None:
    """With an example."""
    assert cli.run("spend", "--since", "soon") == USAGE
    assert "24h" in cli.err
