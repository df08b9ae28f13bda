"""`aleph-agentctl report`: the sums, the page, and what hostile names do to it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from aleph_agentd.control.report.charts import ticks
from aleph_agentd.control.report.page import page
from aleph_agentd.control.report.sums import MOST_ROWS, OTHERS, by_day, grouped, lives
from aleph_agentd.domain.errors import Unavailable

UNTIL = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SINCE = UNTIL - timedelta(days=3)


def life(name: str = "web", hours: float = 4, ended: float = 0, **changes: Any) -> dict[str, Any]:
    """A VM of the daemon's report that ran for so many hours and ended so many before the report."""
    end = UNTIL - timedelta(hours=ended)
    return {
        "item_hash": name.encode().hex().ljust(64, "0")[:64],
        "name": name,
        "project": "/home/you/web",
        "session": "0123456789abcdef",
        "client": "an MCP client (pid 7)",
        "live": ended == 0,
        "estimated_credits": 5.7,
        "settled_credits": 5.7,
        "state": "running" if ended == 0 else "gone",
        "cause": "its lease ended",
        "compute_units": 1,
        "lease_ends_at": (end + timedelta(minutes=1)).isoformat(),
        "billed_from": (end - timedelta(hours=hours)).isoformat(),
        "billed_until": end.isoformat(),
    } | changes


def denial(n: int = 9, **changes: Any) -> dict[str, Any]:
    """An entry of the audit log."""
    return {
        "n": n,
        "at": "2026-11-23T11:00:00Z",
        "kind": "decision",
        "actor": "an MCP client (pid 7)",
        "session": "0123456789abcdef",
        "item_hash": "",
        "text": "aleph_create_vm: denied by max_daily_spend: too much",
    } | changes


def test_a_cost_is_spread_over_the_days_on_which_it_was_billed():
    """Half before midnight, half after."""
    those = lives([life(hours=24)], UNTIL)
    assert by_day(those, SINCE, UNTIL) == [
        ((UNTIL - timedelta(days=3)).date(), 0),
        ((UNTIL - timedelta(days=2)).date(), 0),
        ((UNTIL - timedelta(days=1)).date(), Decimal("2.85")),
        (UNTIL.date(), Decimal("2.85")),
    ]


def test_all_days_together_are_all_costs():
    """Also of one that was billed for no time at all."""
    those = lives([life("a", 50, 3), life("b", 0, 1), life("c", 1)], UNTIL)
    assert sum(amount for _, amount in by_day(those, SINCE, UNTIL)) == pytest.approx(Decimal("17.1"))


def test_sums_are_sorted_by_cost_and_the_long_tail_is_one():
    """No page of a thousand bars."""
    those = lives([life(f"vm-{n}", settled_credits=n, live=False, ended=1) for n in range(40)], UNTIL)
    sums = grouped(those, lambda vm: vm["name"])
    assert [one.label for one in sums] == [f"vm-{n}" for n in range(39, 39 - MOST_ROWS, -1)] + [OTHERS]
    assert sum(one.credits for one in sums) == sum(range(40))
    assert sums[-1].count == 40 - MOST_ROWS


class Elements(HTMLParser):
    """Which elements and attributes a page has; and that it closes what it opens."""

    VOID = frozenset({"meta"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def _page(vms: list[dict[str, Any]], denials: list[dict[str, Any]], **status: Any) -> str:
    return page(
        {"vms": vms}, denials, {"network": "devnet", "reserved_credits": 7.125} | status, SINCE, UNTIL
    )


HOSTILE = (
    "\"><script>alert(1)</script><img src=x onerror=y>' onload=z \x1b[2J\u202e\x00</svg></title></style>&lt;"
)


def test_no_text_of_a_vm_an_agent_or_a_node_becomes_markup():
    """Elements and attributes are those of a harmless page; the words are shown."""
    fields = ("name", "project", "session", "client", "state", "cause", "item_hash")
    hostile = life(**dict.fromkeys(fields, HOSTILE), crn_name=HOSTILE, purpose=HOSTILE)
    entry = denial(**dict.fromkeys(("actor", "session", "text"), HOSTILE))
    attacked, harmless = (
        Elements(_page([hostile], [entry], network=HOSTILE)),
        Elements(_page([life()], [denial()])),
    )
    assert attacked.names == harmless.names
    assert "script" not in attacked.names
    assert {name for name, _ in attacked.attributes} == {name for name, _ in harmless.attributes}
    assert attacked.open == []
    assert "<script>alert(1)</script>" in attacked.words
    for bad in ("\x1b", "\u202e", "\x00"):
        assert bad not in attacked.words


def test_the_page_needs_nothing_from_elsewhere_and_forbids_it():
    """No address in it, no script; and a policy that would stop both."""
    found = Elements(_page([life(), life("old", 3, 5)], [denial()]))
    policy = next(value for name, value in found.attributes if name == "content" and "src" in value)
    assert policy.startswith("default-src 'none'")
    assert not {name for name, _ in found.attributes} & {"href", "src", "action", "xlink:href"}
    assert not any(name.startswith("on") for name, _ in found.attributes)
    assert not any("url(" in value or "://" in value for _, value in found.attributes)
    assert {"svg", "rect"} <= found.names


@pytest.mark.parametrize(
    ("span", "step"),
    [
        (timedelta(minutes=25), timedelta(minutes=5)),
        (timedelta(hours=5), timedelta(hours=1)),
        (timedelta(days=3), timedelta(hours=12)),
        (timedelta(days=8, hours=6), timedelta(days=2)),
        (timedelta(days=90), timedelta(days=14)),
    ],
)
def test_the_marks_of_the_timeline_are_round_times_at_one_distance(span: timedelta, step: timedelta):
    """A mark that is named by its day alone is that day's beginning; few enough to be read."""
    found = ticks(UNTIL - span, UNTIL)
    assert 3 <= len(found) <= 8
    assert {later - earlier for earlier, later in pairwise(found)} == {step}
    assert UNTIL - span <= found[0] and found[-1] <= UNTIL
    assert all((one.minute % 5, one.second, one.microsecond) == (0, 0, 0) for one in found)
    assert step < timedelta(days=1) or {one.hour for one in found} == {0}


def test_a_time_of_no_length_has_a_timeline_too():
    """And one of many years."""
    assert len(ticks(UNTIL, UNTIL)) <= 1
    assert len(ticks(UNTIL - timedelta(days=10_000), UNTIL)) <= 8


def test_the_page_tells_money_in_both_units_lifetimes_and_denials():
    """What the owner looks for."""
    words = Elements(_page([life(), life("old", 3, 5)], [denial()])).words
    for text in (
        "11.40 cr (US$0.114)",
        "7.125 cr (US$0.07125)",
        "/home/you/web",
        "denied by max_daily_spend",
        "2 VMs",
        "old",
    ):
        assert text in words


def test_a_vm_that_was_billed_past_its_lease_stands_out():
    """The promise that matters most."""
    late = life(lease_ends_at=(UNTIL - timedelta(hours=1)).isoformat())
    assert ("class", "late") in Elements(_page([late], [])).attributes
    assert _page([life()], []).count('class="late"') == 1, "only the key of the chart"


def test_an_empty_time_is_a_page_too():
    """Nothing rented, nothing refused."""
    assert "None." in Elements(_page([], [])).words


def test_thousands_of_vms_are_a_page_of_bounded_size():
    """What is left out is said."""
    text = _page([life(f"vm-{n}") for n in range(5000)], [denial() for _ in range(5000)])
    assert len(text) < 400_000
    assert "500 of 5,000 VMs" in text


@pytest.fixture
def gathered(daemon: Any) -> Any:
    """A daemon with three VMs and 1,200 entries in its log, given in pages of at most 300."""
    vms = [life(f"vm-{n}") for n in range(3)]
    entries = [denial(n, kind="decision" if n % 400 == 0 else "call") for n in range(1, 1201)]
    entries[1149] = denial(1150, text="create: allowed by every rule; 5.70 credits reserved")

    def report(_connection: object, params: dict[str, Any]) -> dict[str, Any]:
        place = next((n + 1 for n, vm in enumerate(vms) if vm["item_hash"] == params["after"]), 0)
        return {
            "vms": vms[place : place + 2],
            "more": place + 2 < len(vms),
            "total": 3,
            "until": UNTIL.isoformat(),
        }

    def audit(_connection: object, params: dict[str, Any]) -> dict[str, Any]:
        after = params.get("after")
        found = (
            entries[-params["limit"] :] if after is None else entries[after : after + params["limit"]][:300]
        )
        return {"entries": found}

    daemon.says("status", {"network": "devnet"})
    daemon.says("report", report)
    daemon.says("audit.list", audit)
    return daemon


def test_every_page_of_vms_and_every_denial_of_the_time_is_gathered(gathered, cli, tmp_path):
    """Once each, the newest first; the file is the owner's alone."""
    file = tmp_path / "report.html"
    assert cli.run("report", "--html", str(file), "--since", "2026-11-20T12:00:00+00:00", "--json") == 0
    assert [vm["name"] for vm in cli.json["vms"]] == ["vm-0", "vm-1", "vm-2"]
    assert [entry["n"] for entry in cli.json["denials"]] == [1200, 800, 400]
    assert file.stat().st_mode & 0o777 == 0o600
    assert Elements(file.read_text()).open == []


def test_a_file_that_is_there_is_kept(gathered, cli, tmp_path):
    """Unless it is said to be replaced."""
    file = tmp_path / "report.html"
    file.write_text("mine")
    assert cli.run("report", "--html", str(file)) == 1
    assert file.read_text() == "mine"
    assert cli.run("report", "--html", str(file), "--force") == 0
    assert "3 VMs, 3 denials" in cli.out


def test_without_a_file_it_says_how(cli):
    """A page of HTML on a terminal helps nobody."""
    assert cli.run("report") == 2
    assert "--html report.html" in cli.err


def test_a_daemon_that_refuses_leaves_no_file(daemon, cli, tmp_path):
    """Half a report would be believed."""
    daemon.says("status", Unavailable("not now"))
    assert cli.run("report", "--html", str(tmp_path / "r.html")) == 1
    assert not list(tmp_path.glob("*.html*"))
