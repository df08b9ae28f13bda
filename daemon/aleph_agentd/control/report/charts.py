"""Charts as inline SVG. Every text in them is escaped; colours come from the page, so that both themes work."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from aleph_agentd.control.report.markup import escaped, money
from aleph_agentd.control.report.sums import Life, Sum, at
from aleph_agentd.control.text import fit

WIDTH = 960
_PLOT, _FOOT = 180, 24
_ROW, _BAR = 24, 14
_LABEL = 260
MOST_LIVES = 60
_MOST_TICKS, _TICK_ROOM = 7, 40
_STEPS = [timedelta(minutes=minutes) for minutes in (5, 15, 30, 60, 120, 180, 360, 720)]
_STEPS += [timedelta(days=days) for days in (1, 2, 4, 7, 14, 28, 56, 112, 365)]
_LABEL_CELLS = 34


def days(sums: Sequence[tuple[date, Decimal]]) -> str:
    """A column for each day."""
    most = max((amount for _, amount in sums), default=Decimal()) or Decimal(1)
    step = WIDTH / max(1, len(sums))
    every = max(1, round(70 / step))
    parts = [f'<line class="axis" x1="0" y1="{_PLOT}" x2="{WIDTH}" y2="{_PLOT}"/>']
    for n, (day, amount) in enumerate(sums):
        height = float(amount / most) * (_PLOT - 20)
        x, width = n * step + step * 0.1, step * 0.8
        what = f"{day.isoformat()}: {money(amount)}"
        parts.append(
            f'<rect class="bar" x="{x:.1f}" y="{_PLOT - height:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2">'
            f"<title>{escaped(what)}</title></rect>"
        )
        if n % every == 0:
            parts.append(_text(n * step + step / 2, _PLOT + 17, day.strftime("%d %b"), "middle"))
    parts.append(_text(0, 12, f"most in a day: {money(most if sums else Decimal())}", "start"))
    return _svg(_PLOT + _FOOT, "Spending by day", parts)


def bars(sums: Sequence[Sum], what: str) -> str:
    """A line for each sum."""
    most = max((one.credits for one in sums), default=Decimal()) or Decimal(1)
    room = WIDTH - _LABEL - 260
    parts = []
    for n, one in enumerate(sums):
        y = n * _ROW
        length = float(one.credits / most) * room
        count = f"{one.count} VM{'' if one.count == 1 else 's'}"
        parts += [
            _label(y + 15, one.label),
            f'<rect class="bar" x="{_LABEL}" y="{y + 4}" width="{max(1.0, length):.1f}" height="{_BAR}" rx="2"/>',
            _text(_LABEL + length + 8, y + 15, f"{money(one.credits)}, {count}", "start"),
        ]
    return _svg(max(1, len(sums)) * _ROW, what, parts)


def timeline(those: Sequence[Life], since: datetime, until: datetime) -> str:
    """A bar for each VM from its first billed moment to its last; the newest on top."""
    shown = [life for life in those if life.end >= since][:MOST_LIVES]
    span = max((until - since) / timedelta(seconds=1), 1.0)
    bottom = max(1, len(shown)) * _ROW

    def place(moment: datetime) -> float:
        share = min(1.0, max(0.0, (moment - since) / timedelta(seconds=1) / span))
        return _LABEL + share * (WIDTH - _LABEL)

    parts = []
    marks = ticks(since, until)
    pattern = "%d %b" if all(when.hour == 0 for when in marks) else "%d %b %H:%M"
    for when in marks:
        x = place(when)
        anchor = "start" if x < _LABEL + _TICK_ROOM else "end" if x > WIDTH - _TICK_ROOM else "middle"
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 17, when.strftime(pattern), anchor))
    for n, life in enumerate(shown):
        parts += _life(life, n * _ROW, place(life.begin), place(life.end))
    return _svg(bottom + _FOOT, "When VMs lived", parts)


def ticks(since: datetime, until: datetime) -> list[datetime]:
    """Round times, midnights if they are days, at one distance from each other: no more than can be told apart."""
    length = until - since
    step = next((step for step in _STEPS if length / step <= _MOST_TICKS), length / (_MOST_TICKS - 1))
    step = timedelta(days=step.days) if step.days else step
    when = since.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    while when <= until:
        if when >= since:
            found.append(when)
        when += step
    return found


def _life(life: Life, y: int, begin: float, end: float) -> list[str]:
    vm = life.vm
    late = at(vm.get("lease_ends_at"))
    over = late is not None and life.end - late > timedelta(minutes=5)
    kind = "late" if over else "live" if vm.get("live") else "bar"
    name = str(vm.get("name") or str(vm.get("item_hash"))[:16])
    when = f"{life.begin.astimezone():%Y-%m-%d %H:%M} – {life.end.astimezone():%Y-%m-%d %H:%M}"
    told = f"{name}: {when}, {money(life.credits)}; {vm.get('state') or 'its row is gone'}, {vm.get('cause') or ''}"
    width = max(2.0, end - begin)
    return [
        _label(y + 15, name),
        f'<rect class="{kind}" x="{begin:.1f}" y="{y + 4}" width="{width:.1f}" height="{_BAR}" rx="2">'
        f"<title>{escaped(told)}</title></rect>",
    ]


def _label(y: int, text: str) -> str:
    return _text(0, y, fit(text, _LABEL_CELLS).rstrip(), "start")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'


def _svg(height: float, what: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escaped(what)}">{"".join(parts)}</svg>'
