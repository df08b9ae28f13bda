"""How many VMs live by one installation: its daemon is asked, or its inventory looked at. Unknown is not none."""

import os
from collections.abc import Mapping
from typing import Any

from aleph_agentd.control import installed
from aleph_agentd.control.daemon import ask
from aleph_agentd.control.doctor import gather_machine
from aleph_agentd.control.doctor.finding import ours
from aleph_agentd.control.installing import SERVICE, Place, Record, works
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import DaemonUnreachable, HungUp, NoAnswer

ASK_S = 10.0
"""One that hangs is not waited for."""


def live(place: Place, record: Record) -> tuple[int, str]:
    """How many live, and why the daemon did not say it. Raises Refusal where nobody says it."""
    # A daemon that cannot start would leave its caller waiting.
    if not works(*place.systemctl, "is-active", "--quiet", SERVICE):
        away = "it does not run"
    else:
        try:
            answer = ask("vms.list", {"which": "live", "limit": 1}, ASK_S, place.control_socket)
            return int(answer["total"]), ""
        except (DaemonUnreachable, HungUp, NoAnswer) as problem:
            away = problem.message
    if (found := by_inventory(place, record, away)) is None:
        raise _unknown(away)
    return found, away


def by_inventory(place: Place, record: Record, away: str) -> int | None:
    """How many live by the file; None where another database holds the inventory. Raises Refusal."""
    examined = gather_machine.examine(installed.environment_at(place, record, os.environ))
    inventory: Mapping[str, Any] | None = examined.get("inventory")
    if inventory is None and examined.get("settings"):
        return None
    found = inventory or {}
    if found.get("exists") is False:
        return 0
    if isinstance(count := found.get("live"), int):
        return count
    raise _unknown(away)


def _unknown(away: str) -> Refusal:
    return Refusal(
        f"neither the daemon ({away}) nor its inventory says whether VMs live; nothing was changed",
        ours("aleph-agentctl", "doctor"),
        code="vms_unknown",
    )
