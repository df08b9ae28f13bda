"""What `top` draws, on terminals of all sizes, whatever VMs, agents and CRNs are called."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aleph_agentd.control.output import painted
from aleph_agentd.control.text import fit
from aleph_agentd.control.top.board import Board
from aleph_agentd.control.top.draw import draw

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "network": "devnet",
    "balance_credits": 1234.5,
    "burn_rate_per_hour": 2.85,
    "runway": {"in_words": "18 d"},
    "budget_left": 400.0,
    "daily_limit_credits": 1000.0,
    "spent_day_credits": 500.0,
    "reserved_credits": 350.0,
    "vms": {"running": 2, "gone": 5, "failed": 0},
    "sessions": 1,
    "sweep": {"at": "2026-11-23T09:58:00Z", "listed": 2},
    "alerts": [],
    "stuck": [],
}


def request(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A row of approvals.list."""
    return {
        "id": f"ap-{number}",
        "state": "waiting",
        "what": "create big (12 CU) for 24 h",
        "at_most_credits": 410.4,
        "client": "an MCP client (pid 7)",
        "pid": 7,
        "uid": 1000,
        "parents": "",
        "project": "/home/you/web",
        "decided_at": None,
        "outcome": "",
        "expires_in": "29 min",
    } | changes


def board(vms: list[dict[str, Any]], waiting: int = 0, **status: Any) -> Board:
    """One that has its answers."""
    made = Board()
    page = {"vms": vms, "total": len(vms)}
    made.learn(
        STATUS | status, page, {"approvals": [request(n) for n in range(waiting)], "passphrase_set": True}
    )
    return made


def text(made: Board, width: int = 140, height: int = 30) -> str:
    """The drawing without its styles."""
    return "\n".join("".join(piece for piece, _ in line) for line in draw(made, width, height, NOW))


def test_time_and_money_left_are_told_with_usd(make_vm, monkeypatch):
    """Counted from the end of the lease, not from the last answer."""
    monkeypatch.setenv("TZ", "UTC")
    drawn = text(board([make_vm()]))
    assert "1,234.50 cr (US$12.345), lasts 18 d; burns 2.85 cr (US$0.0285) per hour" in drawn
    assert "400.00 cr (US$4.00) to spend" in drawn
    assert "85% of the day's limit" in drawn
    assert "2 h 0 min" in drawn
    assert "2.97 cr (US$0.0297)" in drawn


def test_the_lease_that_ends_first_comes_first_and_soon_stands_out(make_vm):
    """A quarter of an hour is soon."""
    soon = (NOW + timedelta(minutes=9)).isoformat()
    lines = draw(board([make_vm("late"), make_vm("soon", ttl_expires_at=soon)]), 140, 30, NOW)
    rows = [line for line in lines if line and line[0][0].strip() in ("late", "soon")]
    assert [row[0][0].strip() for row in rows] == ["soon", "late"]
    assert [row[2][1] for row in rows] == ["bold yellow", ""]


@pytest.mark.parametrize("size", [(20, 5), (40, 8), (80, 24), (200, 60)])
@pytest.mark.parametrize("waiting", [0, 1, 9])
def test_it_fits_any_terminal_exactly(make_vm, size, waiting):
    """The last line is always the one that tells the keys."""
    width, height = size
    made = board([make_vm(f"vm-{n}") for n in range(50)], waiting, alerts=["x" * 300] * 9, stuck=["y"] * 9)
    made.happened(
        {"id": n, "at": "2026-11-23T09:58:00Z", "kind": "k", "text": "t" * 300} for n in range(1, 30)
    )
    lines = painted(draw(made, width, height, NOW), width)
    assert len(lines) == height
    assert all(len(line) <= width for line in lines), (
        "without a terminal there are no escape sequences to count"
    )
    assert "q" in lines[-1]


def test_what_is_left_out_is_told(make_vm):
    """Ten thousand do not fit; where they are listed is said."""
    made = board([make_vm(f"vm-{n}") for n in range(50)])
    made.total = 10_000
    assert "of 10,000: aleph-agentctl vms" in text(made, height=24)


HOSTILE = "\x1b[2J\x1b]0;x\x07\r\n\u202e\u2028[red]"


def test_hostile_words_are_shown_and_never_interpreted(make_vm):
    """Names, notes, nodes, projects, clients, events: everything that others write."""
    made = board(
        [make_vm(HOSTILE, note=HOSTILE, crn_name=HOSTILE, status=HOSTILE)], alerts=[HOSTILE], stuck=[HOSTILE]
    )
    made.approvals = {
        "approvals": [request(what=HOSTILE, client=HOSTILE, id=HOSTILE, pid=HOSTILE, expires_in=HOSTILE)]
    }
    made.happened([{"id": 1, "at": HOSTILE, "kind": HOSTILE, "name": HOSTILE, "text": HOSTILE}])
    made.message = made.trouble = HOSTILE
    for denying in ("", HOSTILE):
        made.denying = denying
        for bad in ("\x1b", "\x07", "\r", "\u202e", "\u2028"):
            assert bad not in text(made)
    assert all("\n" not in line for line in painted(draw(made, 140, 30, NOW), 140))


def test_an_old_picture_says_why_it_is_old(make_vm):
    """What was seen last stays: it is still the best guess."""
    made = board([make_vm()])
    made.trouble = "no daemon answers"
    assert "no daemon answers" in text(made)
    assert "web" in text(made)


def test_a_request_stays_selected_while_others_come_and_go():
    """A key must not answer another one than the owner reads."""
    made = board([], waiting=3)
    made.step(1)
    assert made.selected == "ap-1"
    made.learn(STATUS, {"vms": [], "total": 0}, {"approvals": [request(9), request(1)]})
    assert made.request["id"] == "ap-1"
    assert "> ap-1" in text(made)
    made.denying = "ap-1"
    made.learn(STATUS, {"vms": [], "total": 0}, {"approvals": [request(9)]})
    assert (made.request["id"], made.denying) == ("ap-9", "")


def test_what_waits_is_told_once():
    """The alert about a request would only repeat the line that has keys."""
    made = board(
        [], waiting=1, alerts=["Waits for the owner: … aleph-agentctl approve ap-0", "The disk is full."]
    )
    assert "Waits for the owner" not in text(made)
    assert "! The disk is full." in text(made)
    assert "1 waits for you" in text(made)


def test_events_of_a_new_connection_are_not_shown_twice():
    """The watch begins a little in the past."""
    made = Board()
    made.happened({"id": n} for n in (1, 2, 3))
    made.happened({"id": n} for n in (2, 3, 4))
    assert [event["id"] for event in made.events] == [1, 2, 3, 4]


def test_events_of_a_new_inventory_are_shown_although_their_numbers_begin_again():
    """Those of the lost one are no part of its log."""
    made = Board()
    made.happened({"id": n} for n in (4999, 5000))
    assert made.watch_from(5002) == 5000
    assert made.watch_from(7) == 0
    made.happened({"id": n} for n in (6, 7))
    assert [event["id"] for event in made.events] == [6, 7]
    assert made.watch_from(100) == 80


@pytest.mark.parametrize(
    ("given", "width", "expected"),
    [
        ("ab", 4, "ab  "),
        ("abcdef", 4, "abc…"),
        ("日本語", 4, "日… "),
        ("e\u0301x", 2, "e\u0301x"),
        ("abc", 1, "…"),
        ("", 0, ""),
    ],
)
def test_a_cell_has_its_width_in_columns(given, width, expected):
    """Wide characters take two, combining ones none."""
    assert fit(given, width) == expected
