"""Giving a running lease more time."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from ..domain import money, policy
from ..domain.caller import Caller
from ..domain.clock import Clock
from ..domain.errors import Conflict
from ..domain.model import LEASED, Exposure, Vm
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
        self, vm: Vm, hours: float, caller: Caller, request: tuple[str, Remembered] | None = None
    ) -> Vm:
        """The row with its new end. An expired lease is never revived."""
        await self.ready()
        for gate in self.gates:
            gate()
        now = self._clock.now()
        expires_at = vm.expires_at + timedelta(hours=hours)
        self._freezes.check("extend", caller)
        case = await self._case(vm, hours, expires_at)
        limits = self._treasury.limits_of(caller)

        def decide(exposure: Exposure) -> None:
            self._freezes.check("extend", caller)
            policy.evaluate(case, limits, exposure)

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

    async def _case(self, vm: Vm, hours: float, expires_at: datetime) -> policy.Case:
        units = money.cost_units(vm.rate, hours * 3600)
        return policy.Case(
            what="extend",
            name=vm.name,
            compute_units=vm.compute_units,
            lifetime_hours=(expires_at - vm.created_at).total_seconds() / 3600,
            hourly_units=vm.hourly_units,
            estimate_units=units,
            reserve_units=units,
            balance_units=await self._treasury.balance(),
        )


async def _at_once() -> None:
    return
