"""Taking an orphan in for a session: looked at anew, priced, under every rule, and only by a human's yes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from ..domain import money, policy
from ..domain.approvals import Approval
from ..domain.caller import Caller
from ..domain.clock import Clock, iso
from ..domain.errors import Conflict, Denied, NotFound, Unavailable
from ..domain.model import LEASED, Exposure, NetworkInstance, PublishedEnd, Vm
from ..domain.projects import budgets_of
from ..domain.reconcile import lease_end
from ..ports import Admission, Inventory, KeyMissing, NetworkTrouble, StaleRow
from .adopter import Adopter
from .freezes import Freezes
from .own_key import no_key
from .repairs import Repairs
from .sweeper import Sweeper
from .treasury import Treasury

LIST = "See aleph_list_my_vms: an orphan has that status there."
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Offer:
    """The row that an orphan would get, and what the rules decide on."""

    vm: Vm
    case: policy.Case
    past_units: int
    """What it has cost already: bound with it, and nobody's decision."""


class Adoption:
    """The only way in which a session gets a VM that it did not make."""

    def __init__(
        self,
        inventory: Inventory,
        treasury: Treasury,
        sweeper: Sweeper,
        repairs: Repairs,
        adopter: Adopter,
        freezes: Freezes,
        clock: Clock,
    ) -> None:
        self._inventory, self._treasury, self._sweeper = inventory, treasury, sweeper
        self._repairs, self._adopter, self._freezes, self._clock = repairs, adopter, freezes, clock
        self.gates: list[Callable[[], None]] = []
        """What may stand in the way of any adoption; each raises its Refusal."""
        self.ready: Callable[[], Awaitable[None]] = _at_once
        """Waits until the gates know what they are asked."""

    async def row(self, reference: str) -> Vm | None:
        """The row whose hash begins like this, if there is one: such a VM is no orphan."""
        rows = await self._inventory.find(reference)
        return next((vm for vm in rows if vm.item_hash.startswith(reference)), None)

    async def sweep(self) -> None:
        """Compare with the network now: what an earlier sweep found may be gone, or have a row."""
        await self._sweeper.run()
        if trouble := self._sweeper.findings.trouble:
            raise Unavailable(
                f"What is on the network is not known now: {trouble}.", "Try again in a minute."
            )

    async def look(self, reference: str, hours: float, caller: Caller) -> Offer:
        """What it would be, and cost, from now on. Raises the Refusal of what is not to be had."""
        if self._sweeper.findings.trouble:
            await self.sweep()
        item = self._found(reference)
        end = await self._end(item, hours)
        try:
            await self._treasury.cu_rate()  # not in a unit that nothing costs
            vm = await self._adopter.draft(item, end, "adopted: a human approved it", caller)
        except NetworkTrouble as trouble:
            raise Unavailable(
                f"What this VM costs is not known now: {trouble}.", "Try again in a minute."
            ) from trouble
        past = money.cost_units(vm.rate, money.exact_s(max(timedelta(), self._clock.now() - vm.created_at)))
        return Offer(vm, await self._case(vm, hours), past)

    async def check(self, offer: Offer, caller: Caller) -> None:
        """Raise what would refuse it even if a human agreed, so that nobody is asked in vain."""
        await self._open(caller)
        exposure = await self._treasury.exposure(caller)
        self._decide(offer, caller, policy.worst_case(offer.case), exposure)

    async def adopt(self, offer: Offer, caller: Caller, approval: Approval) -> Vm:
        """Carry out a yes, once: every rule decides again in the transaction that writes the row."""
        await self._open(caller)

        def decide(exposure: Exposure) -> None:
            self._freezes.check("create", caller)
            self._decide(offer, caller, approval.units, exposure)

        limits = self._treasury.limits_of(caller)
        admission = Admission(decide, budgets_of(limits, caller.project), approval.id)
        try:
            vm = await self._adopter.write(offer.vm, admission)
        except KeyMissing as missing:
            raise no_key(str(missing)) from missing
        except StaleRow as stale:
            raise taken(stale.vm) from stale
        self._sweeper.findings = self._sweeper.findings.without(vm.item_hash)
        await self._repairs.locate(vm)
        return await self._inventory.get(vm.item_hash) or vm

    # ------------------------------------------------------------------ helpers

    async def _open(self, caller: Caller) -> None:
        await self.ready()
        for gate in self.gates:
            gate()
        self._freezes.check("create", caller)

    def _found(self, reference: str) -> NetworkInstance:
        findings = self._sweeper.findings
        known = (*findings.orphans, *findings.strangers, *findings.lost)
        found = [item for item in known if item.item_hash.startswith(reference)]
        if len(found) != 1:
            raise NotFound(f"{reference[:64]!r} fits {len(found)} orphans of the last sweep.", LIST)
        return found[0]

    async def _end(self, item: NetworkInstance, hours: float) -> PublishedEnd:
        """The lease that it would get: anew for what carries no stamp, one extension more for what outlived its own."""
        now, findings = self._clock.now(), self._sweeper.findings
        asked = now + timedelta(seconds=money.whole_s(hours))
        if item.stamp is None:
            return PublishedEnd(0, asked)
        if item in findings.lost:
            raise Conflict(
                f"{item.item_hash[:12]} is this daemon's own: it is taken in by itself, with its own lease.",
                "Look at aleph_list_my_vms in a few minutes.",
                code="own_stamp",
            )
        stamped = lease_end(item, await self._repairs.ends(findings), now)
        if stamped is None:
            raise Unavailable("Until when its own lease runs is not known now.", "Try again in a minute.")
        if stamped.expires_at > now:
            raise Denied(
                f"{item.item_hash[:12]} belongs to another installation of aleph-agentd, and its lease runs until {iso(stamped.expires_at)}.",
                f"Leave it alone. If it is the owner's all the same: aleph-agentctl orphans adopt {item.item_hash}",
                code="not_yours",
            )
        return PublishedEnd(stamped.n + 1, asked)

    async def _case(self, vm: Vm, hours: float) -> policy.Case:
        lease_s, hourly = money.whole_s(hours), vm.hourly_units
        balance, burn = await self._treasury.balance(), await self._treasury.network_hourly()
        return policy.Case(
            what="adopt",
            name=vm.name,
            project=vm.project,
            os_image=vm.os_image or _UNKNOWN,
            crn_hash=vm.crn_hash or _UNKNOWN,
            compute_units=vm.compute_units,
            lifetime_s=lease_s,
            hourly_units=hourly,
            estimate_units=money.cost_units(vm.rate, lease_s),
            reserve_units=policy.reserve_units(hourly, lease_s),
            balance_units=balance,
            # Both hold it already; the rules add it.
            network_hourly_units=max(0, burn - hourly),
            others_live=max(0, self._sweeper.findings.others_live - 1),
        )

    def _decide(self, offer: Offer, caller: Caller, approved: int, exposure: Exposure) -> None:
        past = offer.past_units
        bound = replace(
            exposure,
            spent_day_units=exposure.spent_day_units + past,
            session_units=exposure.session_units + past,
            shares={path: replace(s, day_units=s.day_units + past) for path, s in exposure.shares.items()},
        )
        case = replace(offer.case, approved_units=approved)
        policy.evaluate(case, self._treasury.limits_of(caller), bound)


def taken(vm: Vm) -> Conflict:
    """The refusal for a VM that is in the inventory."""
    more = f"aleph_extend_vm with item_hash={vm.item_hash} gives it more time."
    return Conflict(
        f"{vm.name} ({vm.item_hash[:12]}) is in the inventory already, as {vm.state}.",
        more if vm.state in LEASED else "Look at aleph_list_my_vms, also with ended=true.",
        code="no_orphan",
    )


async def _at_once() -> None:
    return
