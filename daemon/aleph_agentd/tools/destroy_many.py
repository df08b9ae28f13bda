"""Destroying by filter: first the exact list, then a yes to exactly that list (rules.md 24)."""

import asyncio
from typing import Any

from ..domain import money
from ..domain.errors import Denied, NotFound
from ..domain.model import LEASED, LIVE, TOMBSTONES, Vm
from .base import Call
from .confirming import check_token, token_for
from .ownership import may_act, same_key

EXPIRED, MINE = "expired", "mine"
MOST = 15
"""In one answer of less than 2 kB."""
_SEEN = 10_000
_WHAT = "destroy"


async def choose(call: Call, which: str) -> dict[str, Any]:
    """Destroy nothing, and answer what a yes would be to."""
    vms = await _matching(call, which)
    chosen = vms[:MOST]
    if not chosen:
        note = "Leases end by themselves." if which == EXPIRED else ""
        return _answer(call, [], "nothing", f"No VM of yours is {which}. {note}".strip())
    more = f" {len(vms) - MOST} more come after these." if len(vms) > MOST else ""
    return _answer(
        call,
        chosen,
        "confirm",
        f"Nothing was destroyed. If the user agrees to exactly these, call again with their item_hashes and the token.{more}",
    ) | {"token": token_for(call, _WHAT, chosen)}


async def destroy(call: Call, hashes: list[str], token: str, wait_s: float) -> dict[str, Any]:
    """Destroy exactly these; each goes on without us."""
    vms = [await _owned(call, item_hash) for item_hash in dict.fromkeys(hashes)]
    check_token(call, _WHAT, vms, token)
    teardown, cause = call.services.teardown, f"destroyed by {call.caller.client or 'a session'}"
    ordered = [await teardown.order(vm.item_hash, cause) for vm in vms if vm.state not in TOMBSTONES]
    if ordered:
        await asyncio.wait({teardown.start(vm) for vm in ordered}, timeout=wait_s)
    now = [await teardown.row(vm.item_hash) or vm for vm in vms]
    done = all(vm.state in TOMBSTONES for vm in now)
    note = "" if done else "Ordered, not all confirmed yet; the daemon goes on by itself."
    return _answer(call, now, "destroyed" if done else "destroying", note)


async def _matching(call: Call, which: str) -> list[Vm]:
    now = call.services.clock.now()
    rows = await call.services.inventory.page(states=sorted(LIVE), limit=_SEEN)
    if which == MINE:
        return [vm for vm in rows if vm.state in LEASED and vm.session == call.caller.session]
    return [vm for vm in rows if vm.expires_at <= now and _may(call, vm)]


def _may(call: Call, vm: Vm) -> bool:
    try:
        may_act(call, vm)
    except Denied:
        return False
    return True


async def _owned(call: Call, item_hash: str) -> Vm:
    vm = await call.services.inventory.get(item_hash)
    if vm is None:
        raise NotFound(f"There is no VM {item_hash[:80]!r}.", "Give the hashes exactly as they were listed.")
    may_act(call, vm)
    same_key(call, vm)
    return vm


def _answer(call: Call, vms: list[Vm], status: str, note: str) -> dict[str, Any]:
    now = call.services.clock.now()
    cost = sum(vm.cost_units(now) for vm in vms)
    minutes = sum(vm.billed(now).total_seconds() for vm in vms) / 60
    return {
        "status": status,
        "vms": [{"item_hash": vm.item_hash, "name": vm.name, "status": str(vm.state)} for vm in vms],
        "runtime_minutes": round(minutes, 1),
        "estimated_cost_incurred": money.in_credits(cost),
        "estimated_cost_incurred_usd": money.in_usd(cost),
        "billing_ended": bool(vms) and not any(vm.billing for vm in vms),
        "note": note,
    }
