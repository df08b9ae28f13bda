"""The report as one HTML page: its own style, its own charts, no script, nothing from elsewhere."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from aleph_agentd.control.report import charts
from aleph_agentd.control.report.markup import escaped, money, table
from aleph_agentd.control.report.sums import Life, Sum, by_day, grouped, lives
from aleph_agentd.control.text import NONE, credits_and_usd, minutes, moment

Answer = dict[str, Any]

MOST_VMS, MOST_DENIALS = 500, 200
_COLUMNS = ("name", "state", "billed from", "for", "size", "cost", "project", "why it is so")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root{--ink:#1d2327;--dim:#66707a;--paper:#fff;--card:#f5f7f9;--line:#dde2e7;--bar:#3b74d1;--live:#2f9e5b;--late:#d1453b}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--dim:#98a2ac;--paper:#15181b;--card:#1e2327;--line:#343b42;--bar:#6c9cf0;--live:#4fc380;--late:#f0776c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1040px;padding:32px 24px;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 10px}p{margin:4px 0;color:var(--dim)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(250px,1fr));gap:12px;margin-top:20px}
.card{background:var(--card);border-radius:8px;padding:12px 14px}.card b{display:block;font-size:18px;font-weight:600}
.card span{color:var(--dim)}
svg{display:block;width:100%;height:auto}svg text{fill:var(--ink);font-size:12px}
.bar{fill:var(--bar)}.live{fill:var(--live)}.late{fill:var(--late)}.axis,.grid{stroke:var(--line);stroke-width:1}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13px}
th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word;max-width:300px}
.lives td:nth-child(n+2):nth-child(-n+6){white-space:nowrap}
th{color:var(--dim);font-weight:600}
.key span{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 5px 0 14px}.key span:first-child{margin-left:0}
"""


def page(report: Answer, denials: Sequence[Answer], status: Answer, since: datetime, until: datetime) -> str:
    """All of it."""
    those = lives(report["vms"], until)
    title = f"aleph-agentd: {moment(since.isoformat())} to {moment(until.isoformat())}"
    parts = [
        f"<h1>What agents rented</h1><p>{escaped(title)}, {escaped(status.get('network') or '')}</p>",
        _cards(those, denials, status),
        _section(
            "Spending by day", "A VM’s cost is spread over the time for which it was billed; days are UTC."
        ),
        charts.days(by_day(those, since, until)),
        *_groups(those),
        _section("Lifetimes", _left_out(len(those), charts.MOST_LIVES, "VMs, the newest, are shown")),
        _KEY,
        charts.timeline(those, since, until),
        _section("VMs", _left_out(len(those), MOST_VMS, "VMs, the newest, are listed")),
        f'<div class="lives">{table(_COLUMNS, map(_row, those[:MOST_VMS]))}</div>',
        _section(
            "Denials",
            _left_out(len(denials), MOST_DENIALS, "denials, the newest, are listed")
            or "What the rules refused.",
        ),
        table(("at", "who", "session", "what, and why"), map(_denial, denials[:MOST_DENIALS]))
        if denials
        else "<p>None.</p>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escaped(_POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">'
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


_KEY = (
    '<p class="key"><svg class="dot" viewBox="0 0 520 16" aria-hidden="true" style="max-width:520px">'
    '<rect class="bar" y="3" width="10" height="10" rx="2"/><text x="16" y="12">ended</text>'
    '<rect class="live" x="80" y="3" width="10" height="10" rx="2"/><text x="96" y="12">live</text>'
    '<rect class="late" x="150" y="3" width="10" height="10" rx="2"/>'
    '<text x="166" y="12">billed more than 5 minutes past its lease</text></svg></p>'
)


def _cards(those: Sequence[Life], denials: Sequence[Answer], status: Answer) -> str:
    spent = sum((life.credits for life in those), Decimal())
    live = sum(bool(life.vm.get("live")) for life in those)
    cards: Iterable[tuple[str, str]] = (
        ("cost of the VMs below", money(spent)),
        ("VMs", f"{len(those)}, {live} of them live"),
        ("reserved now", credits_and_usd(status.get("reserved_credits"))),
        ("left to spend", credits_and_usd(status.get("budget_left"), "no limit")),
        ("balance", credits_and_usd(status.get("balance_credits"))),
        ("denials", str(len(denials))),
    )
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><b>{escaped(value)}</b><span>{escaped(name)}</span></div>'
            for name, value in cards
        )
        + "</div>"
    )


def _groups(those: Sequence[Life]) -> Iterable[str]:
    def project(vm: Answer) -> str:
        return str(vm.get("project") or "no project")

    def session(vm: Answer) -> str:
        return f"{vm.get('client') or 'a client'}, {str(vm.get('session') or NONE)[:12]}"

    def name(vm: Answer) -> str:
        return str(vm.get("name") or str(vm.get("item_hash"))[:16])

    yield _section("By VM", "")
    yield _chart(grouped(those, name), "Spending by VM")
    yield _section("By project", "The directory that an agent’s client claims.")
    yield _chart(grouped(those, project), "Spending by project")
    yield _section("By agent session", "")
    yield _chart(grouped(those, session), "Spending by agent session")


def _chart(sums: Sequence[Sum], what: str) -> str:
    return charts.bars(sums, what) if sums else "<p>None.</p>"


def _section(name: str, about: str) -> str:
    return f"<h2>{escaped(name)}</h2>" + (f"<p>{escaped(about)}</p>" if about else "")


def _left_out(count: int, most: int, what: str) -> str:
    return f"{most} of {count:,} {what}." if count > most else ""


def _row(life: Life) -> tuple[object, ...]:
    vm = life.vm
    units = vm.get("compute_units")
    return (
        vm.get("name") or str(vm.get("item_hash"))[:16],
        vm.get("state") or "row gone",
        f"{life.begin.astimezone():%Y-%m-%d %H:%M}",
        minutes((life.end - life.begin).total_seconds() / 60),
        f"{units} CU" if units else NONE,
        money(life.credits),
        vm.get("project") or NONE,
        vm.get("cause") or "",
    )


def _denial(entry: Answer) -> tuple[object, ...]:
    return moment(entry["at"]), entry["actor"], str(entry["session"])[:12], entry["text"]
