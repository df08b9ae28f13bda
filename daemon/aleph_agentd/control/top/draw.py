"""A board as lines of styled text for a terminal of any size. Pure: what it draws, a test can read."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from aleph_agentd.control.status import sweep_line
from aleph_agentd.control.text import NONE, counted, credits_and_usd, fit, minutes, moment, plain, short
from aleph_agentd.control.top.board import Board
from aleph_agentd.domain.clock import span

Answer = dict[str, Any]
Line = list[tuple[str, str]]
"""Pieces of text, each with its style."""

STATES = {
    "running": "green",
    "provisioning": "cyan",
    "intended": "cyan",
    "destroying": "yellow",
    "expired": "bold yellow",
    "stale": "yellow",
}
SOON_S = 15 * 60
"""A lease that ends within this is told in another colour."""
_BAR = 20
_VM_COLUMNS = (
    ("name", 22),
    ("state", 12),
    ("time left", 13),
    ("cost so far", 23),
    ("per hour", 23),
    ("runtime", 13),
)
_MOST_ALERTS, _MOST_REQUESTS, _MOST_EVENTS = 3, 4, 8


def draw(board: Board, width: int, height: int, now: datetime) -> list[Line]:
    """Exactly `height` lines, the last one telling the keys; what does not fit is left out from the middle."""
    top = [*_head(board, width, now), *_alerts(board)]
    requests, events = _requests(board), _events(board)
    room = height - 1 - len(top) - len(requests)
    events = events[: max(0, min(len(events), room // 3))]
    vms = _vms(board, room - len(events), now)
    lines = [*top, *vms, *requests]
    filler: list[Line] = [[] for _ in range(height - 1 - len(lines) - len(events))]
    return [*[*lines, *filler, *events][: height - 1], _foot(board)]


def _head(board: Board, width: int, now: datetime) -> list[Line]:
    status = board.status
    title = f"aleph-agentd {plain(status.get('version') or '')} on {plain(status.get('network') or NONE)}"
    clock = now.astimezone().strftime("%H:%M:%S")
    first: Line = [(fit(title, max(0, width - len(clock) - 1)), "bold"), (" " + clock, "")]
    if board.trouble:
        hint: list[Line] = [[(f"next: {plain(board.hint)}", "bold")]] if board.hint else []
        return [first, [(plain(board.trouble), "bold red")], *hint, *(_money(status) if status else [])]
    return [first, *_money(status), *_rest(status)]


def _money(status: Answer) -> list[Line]:
    runway = (status.get("runway") or {}).get("in_words")
    lasts = f", lasts {plain(runway)}" if runway else ""
    burn = f"{credits_and_usd(status.get('burn_rate_per_hour'))} per hour"
    left = credits_and_usd(status.get("budget_left"), "no limit")
    return [
        _fact("balance", f"{credits_and_usd(status.get('balance_credits'))}{lasts}; burns {burn}"),
        [*_fact("left", f"{left} to spend"), *_bar(status)],
    ]


def _bar(status: Answer) -> Line:
    limit = status.get("daily_limit_credits")
    if not limit:
        return []
    used = (status.get("spent_day_credits") or 0) + (status.get("reserved_credits") or 0)
    share = min(1.0, max(0.0, used / limit))
    full = round(share * _BAR)
    style = "green" if share < 0.8 else "yellow" if share < 1 else "bold red"
    return [
        ("  ", ""),
        ("█" * full, style),
        ("░" * (_BAR - full), "dim"),
        (f" {share:.0%} of the day's limit", ""),
    ]


def _rest(status: Answer) -> list[Line]:
    counts = ", ".join(f"{n} {plain(state)}" for state, n in (status.get("vms") or {}).items() if n)
    return [
        _fact("VMs", f"{counts or 'none'}; {counted(status.get('sessions', 0), 'agent session')}"),
        _fact("sweep", sweep_line(status.get("sweep") or {})),
    ]


def _fact(name: str, value: str) -> Line:
    return [(fit(name, 9), "bold"), (value, "")]


def _alerts(board: Board) -> list[Line]:
    waiting = [str(row["id"]) for row in board.waiting]
    alerts = board.status.get("alerts") or []
    # What waits has a place of its own below, with keys.
    told = [(f"! {plain(line)}", "bold red") for line in alerts if not any(id_ in line for id_ in waiting)]
    told += [(f"stuck: {plain(line)}", "yellow") for line in board.status.get("stuck") or []]
    more = len(told) - _MOST_ALERTS
    shown = told[:_MOST_ALERTS]
    return [
        [piece]
        for piece in [*shown, *([(f"… and {more} more: aleph-agentctl status", "red")] if more > 0 else [])]
    ]


def _vms(board: Board, room: int, now: datetime) -> list[Line]:
    if room < 2:
        return []
    head: Line = [(fit(name, width), "bold") for name, width in _VM_COLUMNS]
    lines: list[Line] = [[], [*head, ("node", "bold")]]
    shown = board.vms[: max(0, room - 3)]
    lines += [_vm(vm, now) for vm in shown]
    if not board.vms and board.status:
        lines.append([("no live VMs", "dim")])
    if len(shown) < board.total:
        lines.append([(f"… {len(shown)} of {board.total:,}: aleph-agentctl vms", "dim")])
    return lines[:room]


def _vm(vm: Answer, now: datetime) -> Line:
    left_s = _left_s(vm, now)
    left = NONE if left_s is None else "over" if left_s <= 0 else span(left_s)
    state = plain(vm.get("status"))
    cells = (
        (plain(vm.get("name")) or short(vm.get("item_hash")), ""),
        (state, STATES.get(state, "")),
        (left, "bold yellow" if left_s is not None and left_s < SOON_S else ""),
        (credits_and_usd(vm.get("cost_so_far")), ""),
        (credits_and_usd(vm.get("hourly_cost")), "dim"),
        (minutes(vm.get("uptime_minutes")), "dim"),
    )
    row = [(fit(text, width), style) for (text, style), (_, width) in zip(cells, _VM_COLUMNS, strict=True)]
    note = f"  {plain(vm['note'])}" if vm.get("note") else ""
    return [*row, (plain(vm.get("crn_name") or vm.get("crn_url") or NONE), ""), (note, "yellow")]


def _left_s(vm: Answer, now: datetime) -> float | None:
    if vm.get("expires_in") is None:
        return None
    try:
        return (datetime.fromisoformat(str(vm["ttl_expires_at"])) - now).total_seconds()
    except (ValueError, TypeError):
        return None


def _requests(board: Board) -> list[Line]:
    waiting, selected = board.waiting, board.request
    if not waiting or selected is None:
        return []
    lines: list[Line] = [
        [],
        [(f"{len(waiting)} {'waits' if len(waiting) == 1 else 'wait'} for you", "bold yellow")],
    ]
    place = next(n for n, row in enumerate(waiting) if row["id"] == selected["id"])
    begin = max(0, min(place - _MOST_REQUESTS // 2, len(waiting) - _MOST_REQUESTS))
    for row in waiting[begin : begin + _MOST_REQUESTS]:
        chosen = row["id"] == selected["id"]
        text = f"{plain(row['id'])}  {plain(row['what'])}, at most {credits_and_usd(row['at_most_credits'])}"
        who = f"  {plain(row['client'])}, pid {plain(row['pid'])}; {plain(row['expires_in'])} left"
        lines.append([("> " if chosen else "  ", "bold"), (text, "bold" if chosen else ""), (who, "dim")])
    return lines


def _events(board: Board) -> list[Line]:
    newest = list(board.events)[-_MOST_EVENTS:]
    return [[], *(_event(event) for event in reversed(newest))] if newest else []


def _event(event: Answer) -> Line:
    what = plain(event.get("name") or "") or (
        short(event.get("item_hash")) if event.get("item_hash") else "daemon"
    )
    at = moment(event.get("at"))
    # The day is known to whoever looks at a live screen.
    clock = at.split(" ")[1] if len(at.split(" ")) > 1 else at
    return [
        (f"{clock} ", "dim"),
        (fit(plain(event.get("kind")), 14), "cyan"),
        (f"{what}: {plain(event.get('text'))}", ""),
    ]


def _foot(board: Board) -> Line:
    if board.denying:
        return [(f"Deny {plain(board.denying)}? y: yes, any other key: no", "bold reverse")]
    keys: Sequence[str] = ["q quit"]
    if board.waiting:
        keys = [*keys, "↑↓ choose", "a approve (passphrase)", "d deny"]
    said: Iterable[tuple[str, str]] = [(f"{plain(board.message)}   ", "bold")] if board.message else []
    return [*said, ("  ".join(keys), "dim")]
