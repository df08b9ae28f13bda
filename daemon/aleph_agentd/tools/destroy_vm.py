"""aleph_destroy_vm: end a VM before its lease does."""

import asyncio
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from ..domain import money
from ..domain.model import TOMBSTONES, Vm
from .base import Answer, Arguments, Call, Tool
from .destroy_many import MOST, choose, destroy
from .ownership import may_act, resolve, same_key
from .views import footer

_WAIT_S = 30.0


class DestroyArguments(Arguments):
    """One VM, or a filter; then the list of it with its token."""

    item_hash: str = Field("", max_length=128, description="Hash, or name of a VM of this session")
    filter: Literal["expired", "mine"] | None = Field(None, description="Several: lists them with a token")
    item_hashes: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list, max_length=MOST, description="Exactly those listed, to confirm"
    )
    token: str = Field("", max_length=64)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = bool(self.item_hash.strip()), self.filter is not None, bool(self.item_hashes)
        if sum(ways) != 1 or bool(self.token) != bool(self.item_hashes):
            raise ValueError("give item_hash, or filter, or item_hashes with their token")
        return self


class Chosen(BaseModel):
    """One of several."""

    item_hash: str
    name: str
    status: str


class Destroyed(Answer):
    """`destroyed`: the network confirmed it. `destroying`: ordered, retried until it does."""

    status: str
    item_hash: str = ""
    name: str = ""
    runtime_minutes: float
    estimated_cost_incurred: float
    estimated_cost_incurred_usd: float
    billing_ended: bool
    note: str = ""
    vms: list[Chosen] = Field(default_factory=list)
    token: str = Field("", description="Confirms exactly these VMs")


async def run(call: Call, arguments: DestroyArguments) -> Destroyed:
    """Order the teardown and wait for it a while; it goes on without us."""
    if arguments.filter:
        return Destroyed(**await footer(call), **await choose(call, arguments.filter))
    if arguments.item_hashes:
        ended = await destroy(call, arguments.item_hashes, arguments.token, _WAIT_S)
        return Destroyed(**await footer(call), **ended)
    vm = await resolve(call, arguments.item_hash.strip())
    may_act(call, vm)
    same_key(call, vm)
    if vm.state not in TOMBSTONES:
        vm = await call.services.teardown.order(
            vm.item_hash, f"destroyed by {call.caller.client or 'a session'}"
        )
        await call.report(1, 3, f"{vm.name}: telling the network to forget it")
        await asyncio.wait({call.services.teardown.start(vm)}, timeout=_WAIT_S)
        vm = await call.services.teardown.row(vm.item_hash) or vm
    return Destroyed(**await footer(call, vm), **_summary(call, vm))


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
    description="End a VM now, for good, and stop its cost. Its disks are lost. A filter destroys nothing yet: it lists what a second call confirms.",
    arguments=DestroyArguments,
    answer=Destroyed,
    run=run,
    destructive=True,
    idempotent=True,
    always_load=True,
)
