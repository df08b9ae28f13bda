"""Giving a running lease more time."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from ..domain import money, policy
from ..domain.approvals import Approval
from ..domain.caller import Caller
from ..domain.clock import Clock
from ..domain.errors import Conflict
from ..domain.model import LEASED, Exposure, Vm
from ..domain.projects import budgets_of
from ..ports import Inventory, Remembered, StaleRow
from .freezes import Freezes
from .treasury import Treasury


class Extender:
    """Runs the whole policy for the additional time, then moves the end of the lease."""

    def __init__(self, inventory: Inventory, treasury: Treasury, clock: Clock, freezes: Freezes) -> None:
        self._inventory, self._treasury, self._clock, self._freezes = inventory, treasury, clock, freezes
        self.gates: list[Callable[[], None]] = []
        """What may stand in the way of any extension; each raises its Refusal."""
        self.ready: Callable[[], Awaitable[None]] = _at_once
        """Waits until the gates know what they are asked."""

    async def extend(
        self,
        vm: Vm,
        hours: float,
        caller: Caller,
        request: tuple[str, Remembered] | None = None,
        approval: Approval | None = None,
    ) -> Vm:
        """The row with its new end. An expired lease is never revived. Spends the approval, if there is one."""
        await self.ready()
        for gate in self.gates:
            gate()
        expires_at = vm.expires_at + timedelta(seconds=money.whole_s(hours))
        self._freezes.check("extend", caller)
        case = await self.case(vm, hours)
        if approval is not None:
            case = replace(case, approved_units=approval.units)
        limits = self._treasury.limits_of(caller, vm.project)

        def decide(exposure: Exposure) -> None:
            self._freezes.check("extend", caller)
            policy.evaluate(case, limits, exposure)

        # Only now: the machine may have been suspended while the network was asked, and the lease be over since.
        now = self._clock.now()
        try:
            return await self._inventory.extend(
                vm.item_hash,
                expires_at,
                case.reserve_units,
                decide,
                now,
                caller.session,
                request,
                lease_version=vm.lease_version,
                budgets=budgets_of(limits, case.project),
                uid=caller.peer.uid,
                approval=approval.id if approval else "",
            )
        except StaleRow as stale:
            raise self._too_late(stale.vm, now) from stale

    def _too_late(self, vm: Vm, now: datetime) -> Conflict:
        if vm.state in LEASED and vm.expires_at > now:
            return Conflict(
                f"{vm.name} was extended by somebody else meanwhile.",
                "Look at aleph_list_my_vms, then decide again.",
            )
        return Conflict(
            f"{vm.name} is {vm.state} and its lease is over: an ended lease is never revived.",
            "Create a new VM with aleph_create_vm.",
            code="lease_over",
        )

    async def case(self, vm: Vm, hours: float) -> policy.Case:
        """What the policy decides on."""
        seconds = money.whole_s(hours)
        expires_at = vm.expires_at + timedelta(seconds=seconds)
        units = money.cost_units(vm.rate, seconds)
        balance, burn = await asyncio.gather(self._treasury.balance(), self._treasury.network_hourly())
        return policy.Case(
            what="extend",
            name=vm.name,
            project=vm.project,
            extensions=vm.lease_version - 1,
            compute_units=vm.compute_units,
            lifetime_s=math.ceil(money.exact_s(expires_at - vm.created_at)),
            hourly_units=vm.hourly_units,
            estimate_units=units,
            reserve_units=units,
            balance_units=balance,
            network_hourly_units=burn,
        )


async def _at_once() -> None:
    return
