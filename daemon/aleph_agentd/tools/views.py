"""How VMs, money and times look in an answer. Credits and USD side by side, times with the time left."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from ..domain import money
from ..domain.clock import iso, span
from ..domain.counting import be, counted
from ..domain.model import LEASED, NetworkInstance, Vm
from ..services.core import Services
from ..services.treasury import Overview
from .base import Call, EndsSoon


class VmView(BaseModel):
    """One VM, with the mission's fields and ours."""

    item_hash: str
    name: str
    status: str = Field(
        description="running, expired, stale, orphan; intended, provisioning, destroying, gone, failed"
    )
    crn_url: str
    crn_name: str = ""
    uptime_minutes: float
    cost_so_far: float
    cost_so_far_usd: float
    hourly_cost: float = 0
    hourly_cost_usd: float = 0
    ttl_expires_at: str | None
    expires_in: str | None = None
    ssh_command: str
    expired: bool
    compute_units: int = 0
    purpose: str = ""
    mine: bool = False
    note: str = ""


def vm_view(vm: Vm, now: datetime, session: str, note: str = "") -> VmView:
    """A row as the given session sees it. `note`: what is to be told of it when all is well."""
    expired = vm.expires_at <= now
    cost = vm.cost_units(now)
    return VmView(
        item_hash=vm.item_hash,
        name=vm.name,
        status=status_of(vm, expired),
        crn_url=vm.crn_url,
        crn_name=vm.crn_name,
        uptime_minutes=round(vm.billed(now).total_seconds() / 60, 1),
        cost_so_far=money.in_credits(cost),
        cost_so_far_usd=money.in_usd(cost),
        hourly_cost=money.in_credits(vm.hourly_units),
        hourly_cost_usd=money.in_usd(vm.hourly_units),
        ttl_expires_at=iso(vm.expires_at),
        expires_in=span((vm.expires_at - now).total_seconds()) if vm.state in LEASED else None,
        ssh_command=vm.ssh_command() if vm.state in LEASED else "",
        expired=expired,
        compute_units=vm.compute_units,
        purpose=vm.purpose,
        mine=vm.session == session,
        note=vm.last_error or vm.warned or vm.saved or note,
    )


def status_of(vm: Vm, expired: bool) -> str:
    """The mission's word where it has one, else the state."""
    if vm.state in LEASED and expired:
        return "expired"
    if vm.warned == "stale":
        return "stale"
    return str(vm.state)


def orphan_view(orphan: NetworkInstance) -> VmView:
    """A VM of our key that the inventory does not know."""
    return VmView(
        item_hash=orphan.item_hash,
        name=orphan.name,
        status="orphan",
        crn_url="",
        uptime_minutes=0,
        cost_so_far=0,
        cost_so_far_usd=0,
        ttl_expires_at=iso(orphan.stamp.expires_at) if orphan.stamp else None,
        ssh_command="",
        expired=False,
        note="Under our key, but not in the inventory: the owner decides (aleph_adopt_vm asks for it; or aleph-agentctl orphans adopt HASH, or destroy HASH).",
    )


async def overview_of(call: Call) -> Overview:
    """What is bound now, as this session sees it."""
    caller = call.caller
    return await call.services.treasury.overview(caller.session, caller.peer.uid, caller.project)


async def footer(call: Call, vm: Vm | None = None) -> dict[str, Any]:
    """The fields of `Answer`; `expires_in` is the VM's if one is given, else the next lease's."""
    overview = await overview_of(call)
    now = call.services.clock.now()
    treasury = call.services.treasury
    left = treasury.budget_left(treasury.limits_of(call.caller), overview.exposure)
    soon = await call.services.lookout.ends_soon(call.caller)
    ending = vm if vm and vm.state in LEASED else overview.next_end if vm is None else None
    return {
        "expires_in": span((ending.expires_at - now).total_seconds()) if ending else None,
        "budget_left": None if left is None else money.in_credits(left),
        "budget_left_usd": None if left is None else money.in_usd(left),
        "ends_soon": [_soon_view(row, now) for row in soon],
        "stuck": [f"{row.name} ({row.item_hash[:12]}): {row.last_error}" for row in overview.stuck[:10]],
        "alerts": [
            *(_soon_words(row, now) for row in soon),
            *alerts(call.services),
            *call.services.approvals.alerts(call.caller.session),
            *call.caller.notices,
        ],
    }


def _soon_view(vm: Vm, now: datetime) -> EndsSoon:
    return EndsSoon(
        item_hash=vm.item_hash,
        name=vm.name,
        expires_at=iso(vm.expires_at) or "",
        expires_in=span((vm.expires_at - now).total_seconds()),
    )


def _soon_words(vm: Vm, now: datetime) -> str:
    left = span((vm.expires_at - now).total_seconds())
    return f"The lease of {vm.name} ends in {left}, and the VM with it: copy results out, or call aleph_extend_vm."


def alerts(services: Services) -> list[str]:
    """What is wrong with the daemon or the network, in words an agent can pass on."""
    findings, found = services.sweeper.findings, []
    orphans, lost, strangers = len(findings.orphans), len(findings.lost), len(findings.strangers)
    if services.signer.trouble:
        found.append(
            f"No usable key: {services.signer.trouble}. VMs end by their stored FORGETs; nothing can be created."
        )
    if services.inventory.trouble:
        found.append(
            f"The inventory cannot be written: {services.inventory.trouble}. Nothing can be created or extended; VMs still end."
        )
    if findings.orphans:
        found.append(
            f"{counted(orphans, 'VM')} under our key {be(orphans)} not in the inventory; the owner decides: aleph-agentctl orphans"
        )
    if findings.lost:
        found.append(
            f"{counted(lost, 'VM')} of ours {be(lost, 'has', 'have')} lost the row, which is written anew when the network tells until when the lease runs."
        )
    if findings.empty_inventory:
        found.append(
            f"The inventory is empty, but {counted(strangers, 'VM')} under our key {be(strangers, 'carries', 'carry')} a stamp; if it is yours: aleph-agentctl recover"
        )
    if findings.halted:
        found.append(
            f"The sweep ended nothing: {findings.halted}. The owner decides: aleph-agentctl orphans --sweep --anyway"
        )
    for more in services.notices:
        found += more()
    return found
