"""The figures of a run, side by side, and the judgement on the daemon's."""

from collections.abc import Sequence
from typing import Any

from soak.agents import FORGOTTEN_REQUEST
from soak.result import Result

LATE_S, LATE_MEAN_S = 600.0, 30.0
"""What one VM, and many on average, may outlive its lease without any excuse: what is retried every 10 to
144 s while it is billed (domain/leases.py), in a network that always loses 1 % of requests and of replies,
and what a CRN that comes back needs to notice by itself what was forgotten (three looks, a minute apart)."""
_UNITS_PER_CREDIT = 10_000


def faults(result: Result) -> list[str]:
    """What the daemon promises and did not keep; empty when it kept everything."""
    f = result.figures
    said = [
        f"{len(f[name])} {name.replace('_', ' ')}: {', '.join(item_hash[:12] for item_hash in f[name][:5])}"
        for name in ("lost", "double", "without_row")
        if f[name]
    ]
    worst = f["latest"][0][0] if f["latest"] else 0.0
    if worst > LATE_S:
        said.append(
            f"a VM was {worst:.0f} s late without excuse, more than {LATE_S:.0f} s: {f['latest'][0][1][:12]}"
        )
    if f["late_h"] * 3600 > LATE_S + LATE_MEAN_S * f["vms"]:
        said.append(
            f"VMs were {_mean_late(f):.0f} s late on average without excuse, more than {LATE_MEAN_S:.0f} s"
        )
    if forgotten := result.counts.get(FORGOTTEN_REQUEST):
        said.append(f"{forgotten} requests that were sent again got another answer")
    return said


def table(results: Sequence[Result]) -> str:
    """One column per design."""
    lines = [("", *(result.name for result in results))]
    for title, figure in _ROWS:
        lines.append((title, *(figure(result.figures) for result in results)))
    return "\n".join(f"{title:<58}" + "".join(f"{cell:>16}" for cell in cells) for title, *cells in lines)


def _mean_late(f: dict[str, Any]) -> float:
    return f["late_h"] * 3600 / f["vms"] if f["vms"] else 0.0


def _credits(units: int) -> str:
    return f"{units / _UNITS_PER_CREDIT:.1f}"


_ROWS = (
    ("VMs billed", lambda f: str(f["vms"])),
    ("credits charged (1 credit = US$0.01)", lambda f: _credits(f["units"])),
    ("VM-hours lived past the lease", lambda f: f"{f['past_lease_h']:.2f}"),
    ("  of these billed", lambda f: f"{f['billed_past_lease_h']:.2f}"),
    ("  while the CCN or the VM's CRN could not be reached", lambda f: f"{f['unreachable_h']:.2f}"),
    ("  while the machine was suspended", lambda f: f"{f['excused_h'].get('asleep', 0):.2f}"),
    ("  while it was killed, until it was started again", lambda f: f"{f['excused_h'].get('down', 0):.2f}"),
    ("  in storms of lost replies", lambda f: f"{f['excused_h'].get('storm', 0):.2f}"),
    ("  without excuse", lambda f: f"{f['late_h']:.2f}"),
    ("  without excuse: the worst VM, seconds", lambda f: f"{f['latest'][0][0] if f['latest'] else 0:.0f}"),
    ("  without excuse: mean per VM, seconds", lambda f: f"{_mean_late(f):.1f}"),
    ("VMs lost (alive at rest, a day after the last lease)", lambda f: str(len(f["lost"]))),
    ("double creates", lambda f: str(len(f["double"]))),
    ("VMs charged without a row", lambda f: str(len(f["without_row"]))),
    ("credits charged without a row", lambda f: _credits(f["without_row_units"])),
)
