"""What a daemon must never do, seen from outside: by the network's memory, and by its inventory at each moment."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aleph_agentd.adapters.store import SqlInventory
from aleph_agentd.domain.limits import Limits
from aleph_agentd.domain.model import LEASED, TOMBSTONES, Vm, VmState
from support.simulated_network import SimulatedNetwork
from support.simulation import SimulatedClock

LIMITS = Limits(
    max_concurrent_vms=3,
    max_daily_spend_units=1_200_000,
    max_session_spend_units=900_000,
    human_approval_threshold_units=None,
    balance_guard_percent=100,
    cost_threshold_units=10**12,
)
LATE = timedelta(seconds=1)
"""Promise 2."""


@dataclass
class Known:
    """What the test knows of a VM, from the outside."""

    vm: Vm
    """As its row was last seen."""
    latest_end: datetime
    ending: bool = False
    """Teardown was seen to have begun: there is no way back."""


@dataclass
class Outside:
    """What happened to VMs without the daemon's doing."""

    revived: set[str] = field(default_factory=set)
    """The network took them up again after it had given them up."""
    ended: set[str] = field(default_factory=set)
    """Somebody or something else ended them, or had them refused."""
    unlisted: set[str] = field(default_factory=set)
    """They were there when the inventory was lost."""


class Promises:
    """Looks on, remembers, and writes down in words what was broken."""

    def __init__(self, network: SimulatedNetwork, clock: SimulatedClock) -> None:
        self._network, self._clock = network, clock
        self._inventory: SqlInventory | None = None
        self.known: dict[str, Known] = {}
        self.outside = Outside()
        self.destroyed: set[str] = set()
        """VMs whose end was ordered by a tool."""
        self.published: dict[str, datetime] = {}
        """Ends of leases that the daemon said are published."""
        self.broken: list[str] = []

    async def watch(self, call: str, item_hash: str) -> None:
        """Before anything leaves: an INSTANCE has its row; nothing that ends or is over is notified."""
        assert self._inventory is not None
        row = await self._inventory.get(item_hash)
        if call == "post":
            created = await self._inventory.create_message(item_hash)
            if created and (row is None or row.broadcast_at is None):
                self.broken.append(f"{item_hash[:8]} left before its row said so")
        elif row is None or (row.state not in LEASED and row.destroy_at != self._clock.now()):
            self.broken.append(f"{item_hash[:8]} was notified while {row and row.state}")

    def begin(self, inventory: SqlInventory, restoration: Any) -> None:
        """Another life over this inventory: after each of its admissions all that is bound fits the limits."""
        self._inventory = inventory
        admit, extend = inventory.admit, inventory.extend

        async def admit_and_look(intent: Any, *rest: Any) -> Vm:
            vm = await admit(intent, *rest)
            await self._fits(inventory, vm.session)
            live = [row for row in await inventory.page(states=tuple(VmState), limit=1000) if row.billing]
            if len(live) > LIMITS.max_concurrent_vms:
                self.broken.append(f"{len(live)} VMs are live at once")
            return vm

        async def extend_and_look(*args: Any, **rest: Any) -> Vm:
            vm = await extend(*args, **rest)
            await self._fits(inventory, args[5])
            return vm

        inventory.admit, inventory.extend = admit_and_look, extend_and_look  # type: ignore[assignment,method-assign]

    async def _fits(self, inventory: SqlInventory, session: str) -> None:
        moved, day = await inventory.ledger(100_000), self._clock.now() - timedelta(hours=24)
        bound = sum(m.units for m in moved if m.account == "reserved")
        spent = sum(m.units for m in moved if m.account == "spent" and m.at > day)
        of_session = sum(m.units for m in moved if m.session == session)
        if bound + spent > (LIMITS.max_daily_spend_units or 0):
            self.broken.append(f"{bound} + {spent} units are bound and spent in a day")
        if of_session > (LIMITS.max_session_spend_units or 0):
            self.broken.append(f"{session} has bound and spent {of_session} units")

    async def nothing_is_lost(self) -> None:
        """Promise 1: what the network ever took in has a row, but for what was there when an inventory was lost."""
        assert self._inventory is not None
        sent = set(self._network.ours()) - self.outside.unlisted
        rows = await self._inventory.known(sorted(sent))
        self.broken += [f"{item[:8]} has no row" for item in sorted(sent - set(rows))]

    async def check(self) -> None:
        """All that must hold between any two steps."""
        assert self._inventory is not None
        rows = await self._inventory.page(states=tuple(VmState), limit=1000)
        await self.nothing_is_lost()
        self._none_twice(rows)
        money = await self._inventory.balances([vm.item_hash for vm in rows])
        for vm in rows:
            self.broken += [
                f"{vm.name} {vm.item_hash[:8]} {why}" for why in self._wrong(vm, money[vm.item_hash])
            ]
            self._remember(vm)

    def _none_twice(self, rows: list[Vm]) -> None:
        """One create never has two billed VMs at once."""
        billed = set(self._network.billed()) - self.outside.revived
        creates = [vm.create_id for vm in rows if vm.item_hash in billed]
        self.broken += [
            f"{one} has two billed VMs" for one in sorted({c for c in creates if creates.count(c) > 1})
        ]

    def _remember(self, vm: Vm) -> None:
        known = self.known.setdefault(vm.item_hash, Known(vm, vm.expires_at))
        known.vm, known.latest_end = vm, max(known.latest_end, vm.expires_at)
        known.ending |= vm.state not in LEASED

    def _wrong(self, vm: Vm, money: tuple[int, int]) -> list[str]:
        """Every promise that is broken for this VM."""
        now, item, network = self._clock.now(), vm.item_hash, self._network
        known = self.known.get(item, Known(vm, vm.expires_at))
        billed = network.statuses.get(item, None) and network.statuses[item].on_network
        spent_at_least = int(vm.rate * int(network.statuses.billed_seconds(item)))
        known_since = max(vm.expires_at, vm.running_at or vm.expires_at)  # it may have been taken in late
        # A second life that somebody else ended before a sweep saw it is on no bill of ours.
        seen = item not in self.outside.revived & self.outside.ended | self.outside.unlisted
        due = vm.state in LEASED and known_since + LATE < now
        early = (
            known.vm.state is VmState.RUNNING and vm.state not in LEASED and not self._may_end(known.vm, vm)
        )
        return [
            why
            for why, broken in {
                f"is still {vm.state} {now - vm.expires_at} after its lease": due,
                f"was {known.vm.state} and ended without a reason: {vm.cause}": early,
                f"ends earlier than before, at {vm.expires_at}": vm.expires_at < known.latest_end,
                f"is {vm.state} although its teardown had begun": known.ending and vm.state in LEASED,
                f"is {vm.state} while the network bills it": vm.state in TOMBSTONES
                and billed
                and item not in self.outside.revived,
                f"has {money[0]} units reserved after its end": not vm.billing and money[0] != 0,
                f"cost {spent_at_least} units and {money[1]} are booked": not vm.billing
                and not billed
                and money[1] < spent_at_least
                and seen,
            }.items()
            if broken
        ]

    def _may_end(self, before: Vm, vm: Vm) -> bool:
        by_lease = vm.destroy_at is not None and vm.destroy_at >= before.expires_at
        return by_lease or vm.item_hash in self.destroyed | self.outside.ended

    # ------------------------------------------------------------------ at rest

    async def unrest(self) -> list[str]:
        """What is not settled yet between the network, its CRNs and the inventory."""
        assert self._inventory is not None
        network, unlisted = self._network, self.outside.unlisted
        rows = {vm.item_hash: vm for vm in await self._inventory.page(states=tuple(VmState), limit=1000)}
        billed, runs = set(network.billed()) & set(network.ours()), set(network.running())
        leased = {item for item, vm in rows.items() if vm.state in LEASED}
        open_ = {item for item, vm in rows.items() if vm.state not in {VmState.RUNNING, *TOMBSTONES}}
        unseen = {item for item, vm in rows.items() if vm.state is VmState.GONE and vm.verified_at is None}
        early = {
            item for item, end in self.published.items() if item in leased and rows[item].expires_at < end
        }
        found = {
            "is billed without a live row": billed - leased,
            # A listing of nothing while there are live rows says nothing: they end with their leases.
            "has a live row and is not on the network": leased - billed if billed else set(),
            "is neither running nor over": open_,
            "was not looked up again": unseen,
            "runs on a CRN without being billed": runs - billed - leased - (unlisted - set(rows)),
            "lost an extension that was published": early,
        }
        return [f"{item[:8]} {why}" for why, items in found.items() for item in sorted(items)]
