"""aleph_destroy_vm: end a VM before its lease does."""

import asyncio
from typing import Any

from pydantic import Field

from ..domain import money
from ..domain.errors import Denied
from ..domain.model import TOMBSTONES, Vm
from .base import Answer, Arguments, Call, Tool
from .ownership import may_act, resolve
from .views import footer

_WAIT_S = 30.0


class DestroyArguments(Arguments):
    """Which."""

    item_hash: str = Field(min_length=1, max_length=128, description="Hash, or name of a VM of this session")


class Destroyed(Answer):
    """`destroyed`: the network confirmed it. `destroying`: ordered, retried until it does."""

    status: str
    item_hash: str
    name: str
    runtime_minutes: float
    estimated_cost_incurred: float
    estimated_cost_incurred_usd: float
    billing_ended: bool
    note: str = ""


async def run(call: Call, arguments: DestroyArguments) -> Destroyed:
    """Order the teardown and wait for it a while; it goes on without us."""
    vm = await resolve(call, arguments.item_hash.strip())
    may_act(call, vm)
    _same_key(call, vm)
    if vm.state not in TOMBSTONES:
        vm = await call.services.teardown.order(
            vm.item_hash, f"destroyed by {call.caller.client or 'a session'}"
        )
        await call.report(1, 3, f"{vm.name}: telling the network to forget it")
        await asyncio.wait({call.services.teardown.start(vm)}, timeout=_WAIT_S)
        vm = await call.services.teardown.row(vm.item_hash) or vm
    return Destroyed(**await footer(call, vm), **_summary(call, vm))


def _same_key(call: Call, vm: Vm) -> None:
    """The mission's guard: only the key that created a VM can end it."""
    signer = call.services.signer
    if not signer.trouble and vm.signer and vm.signer != signer.address:
        raise Denied(
            f"{vm.name} was created with the key {vm.signer}; the daemon now has {signer.address}, which cannot end it.",
            "Ask the owner to give the daemon the former key back (ALEPH_AGENT_PRIVATE_KEY_PATH).",
            code="other_key",
        )


def _summary(call: Call, vm: Vm) -> dict[str, Any]:
    now = call.services.clock.now()
    cost = vm.cost_units(now)
    ended = not vm.billing
    if vm.state in TOMBSTONES:
        note = "Root disks stay on the host until it reuses the space: change secrets that were on it."
    elif ended:
        note = f"Billing ended; its host has not confirmed the erase yet and is asked again. {vm.last_error}"
    else:
        note = f"Ordered, not confirmed yet; the daemon goes on by itself. {vm.last_error}"
    return {
        "status": "destroyed" if vm.state in TOMBSTONES else "destroying",
        "item_hash": vm.item_hash,
        "name": vm.name,
        "runtime_minutes": round(vm.billed(now).total_seconds() / 60, 1),
        "estimated_cost_incurred": money.in_credits(cost),
        "estimated_cost_incurred_usd": money.in_usd(cost),
        "billing_ended": ended,
        "note": note.strip(),
    }


TOOL = Tool(
    name="aleph_destroy_vm",
    title="Destroy VM",
    description="End a VM now, for good, and stop its cost. Its disks are lost. Answers with runtime and cost.",
    arguments=DestroyArguments,
    answer=Destroyed,
    run=run,
    destructive=True,
    idempotent=True,
    always_load=True,
)
