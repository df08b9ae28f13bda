"""What a daemon must never do, seen from outside: by the network's memory, and by its inventory at each moment."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aleph_agentd.adapters.store import SqlInventory
from aleph_agentd.domain.errors import Denied
from aleph_agentd.domain.freezes import check as check_freezes
from aleph_agentd.domain.freezes import scope_of
from aleph_agentd.domain.leases import GONE_UNVERIFIED, UNKNOWN_PROOF
from aleph_agentd.domain.limits import Limits
from aleph_agentd.domain.model import LEASED, TOMBSTONES, Vm, VmState
from aleph_agentd.ports import MessageStatus, NetworkTrouble
from support.simulated_network import SimulatedNetwork
from support.simulation import SimulatedClock

LIMITS = Limits(
    max_concurrent_vms=5,
    max_daily_spend_units=700_000,
    max_session_spend_units=500_000,
    human_approval_threshold_units=None,
    balance_guard_percent=100,
    cost_threshold_units=10**12,
)
LATE = timedelta(seconds=1)
"""Promise 2."""
OBSERVATIONS_S = 1000
"""That a leased VM was ended by somebody else is believed after three sweeps that agree."""


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
        self._restoration: Any = None
        self.known: dict[str, Known] = {}
        self.outside = Outside()
        self.destroyed: set[str] = set()
        """VMs whose end was ordered by a tool."""
        self.panicked = False
        """A human has ordered that all end."""
        self.published: dict[str, datetime] = {}
        """Ends of leases that the daemon said are published."""
        self.broken: list[str] = []

    async def watch(self, call: str, what: Any) -> None:
        """Before anything leaves that may bring a VM to life: its row says so, and nothing speaks against it."""
        assert self._inventory is not None
        if call == "post" and json.loads(what.body)["type"] != "INSTANCE":
            return
        item = what.item_hash if call == "post" else what
        did = "was broadcast" if call == "post" else "was notified"
        row, now = await self._inventory.get(item), self._clock.now()
        if row is None or row.broadcast_at is None:
            self.broken.append(f"{item[:8]} {did} before its row said so")
            return
        # What was decided at this very moment may have come just after the last look.
        if row.state not in LEASED and row.destroy_at != now:
            self.broken.append(f"{item[:8]} {did} while {row.state}")
        if row.expires_at < now:
            self.broken.append(f"{item[:8]} {did} after its lease")
        if await self._frozen("create", scope_of(row.project, row.session)):
            self.broken.append(f"{item[:8]} {did} although creates are frozen")

    async def _frozen(self, what: str, scope: str) -> bool:
        """By what is on disk, since before this moment."""
        assert self._inventory is not None
        try:
            check_freezes(
                [one for one in await self._inventory.freezes() if one.at < self._clock.now()], what, scope
            )
        except Denied:
            return True
        return False

    def begin(self, inventory: SqlInventory, restoration: Any) -> None:
        """Another life over this inventory: after each of its admissions all that is bound fits the limits."""
        self._inventory, self._restoration = inventory, restoration
        self._network.told_ended.clear()
        admit, extend, settle, move = inventory.admit, inventory.extend, inventory.settle, inventory.move

        async def admit_and_look(intent: Any, *rest: Any) -> Vm:
            vm = await admit(intent, *rest)
            await self._fits(inventory, vm.session)
            if await self._frozen("create", scope_of(vm.project, vm.session)):
                self.broken.append(f"{vm.name} was admitted although creates are frozen")
            live = [row for row in await inventory.page(states=tuple(VmState), limit=1000) if row.billing]
            if len(live) > LIMITS.max_concurrent_vms:
                self.broken.append(f"{len(live)} VMs are live at once")
            with suppress(NetworkTrouble):
                await self._network.passes("admit", vm.item_hash)
            return vm

        async def extend_and_look(*args: Any, **rest: Any) -> Vm:
            before, now = await inventory.get(args[0]), self._clock.now()
            vm = await extend(*args, **rest)
            await self._fits(inventory, args[5])
            if before and (before.expires_at <= now or before.state not in LEASED):
                self.broken.append(f"{vm.name} was extended {now - before.expires_at} after its lease")
            if await self._frozen("extend", scope_of(vm.project, vm.session)):
                self.broken.append(f"{vm.name} was extended although extends are frozen")
            return vm

        async def settle_and_look(item_hash: str, *args: Any, **facts: Any) -> Vm:
            vm = await settle(item_hash, *args, **facts)
            self._settled(vm)
            return vm

        async def move_and_look(item_hash: str, to: VmState, *args: Any, **facts: Any) -> Vm:
            vm = await move(item_hash, to, *args, **facts)
            if to is VmState.GONE:
                self._buried(vm)
            return vm

        inventory.admit, inventory.extend = admit_and_look, extend_and_look  # type: ignore[assignment,method-assign]
        inventory.settle, inventory.move = settle_and_look, move_and_look  # type: ignore[method-assign]

    def _settled(self, vm: Vm) -> None:
        """Promise 3 and 5: only what the network has ended, or has not known for as long as a proof takes."""
        item, now = vm.item_hash, self._clock.now()
        status = self._network.statuses.get(item, MessageStatus.UNKNOWN)
        if status.on_network and item not in self.outside.revived:
            self.broken.append(f"{vm.name} {item[:8]} was settled while it is {status}")
        if (
            vm.state is VmState.FAILED
            and vm.broadcast_at
            and vm.destroy_at
            and now - vm.destroy_at < UNKNOWN_PROOF
        ):
            self.broken.append(f"{vm.name} {item[:8]} was given up after {now - vm.destroy_at}: {vm.cause}")

    def _buried(self, vm: Vm) -> None:
        """Promise 2: gone is what its CRN does not list."""
        item = vm.item_hash
        if (
            item in self._network.running()
            and item not in self._network.resurrected
            and vm.warned != GONE_UNVERIFIED
        ):
            self.broken.append(f"{vm.name} {item[:8]} was called gone while its CRN runs it")

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
        # A second life that somebody else ended before a sweep saw it is on no bill of ours.
        seen_until = (
            (vm.forgotten_at or vm.ended_at) if item in self.outside.revived & self.outside.ended else None
        )
        spent_at_least = int(vm.rate * int(network.statuses.billed_seconds(item, seen_until)))
        known_since = vm.expires_at
        if vm.create_id.startswith("adopted-"):  # it may have been taken in late
            known_since = max(vm.expires_at, vm.running_at or vm.expires_at)
        due = vm.state in LEASED and known_since + LATE < now and not self._restoration.spares()
        spent_at_most = self._spent_at_most(vm)
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
                f"is not {vm.state} for the network any more, but billed": not vm.billing
                and billed
                and item not in self.outside.revived,
                f"has {money[0]} units reserved after its end": not vm.billing and money[0] != 0,
                f"cost {spent_at_least} units and {money[1]} are booked": not vm.billing
                and not billed
                and money[1] < spent_at_least,
                f"cost at most {spent_at_most} units and {money[1]} are booked": spent_at_most is not None
                and money[1] > spent_at_most,
            }.items()
            if broken
        ]

    def _spent_at_most(self, vm: Vm) -> int | None:
        """From when its bytes left to when the daemon was told of the end, by the network's own memory.

        None while that cannot be said: it is not settled, its end was told to another life of the daemon, or it
        was taken in with the price of the day and a signature's date.
        """
        item = vm.item_hash
        if vm.billing:
            return None
        if not any(status.on_network for _, status in self._network.statuses.history[item]):
            return 0
        told = self._network.told_ended.get(item)
        if told is None or item in self.outside.unlisted:
            return None
        left = self._network.posted_first[item]
        until = told + timedelta(seconds=1)
        # Believed after three sweeps; while the network lists nothing at all, not before the lease ends.
        if item in self.outside.ended:
            until = max(told + timedelta(seconds=OBSERVATIONS_S), vm.expires_at + LATE)
        until += self._clock.slept_since(told)
        # What the network itself charges is booked later, when it is more (rules.md 15).
        charged = sum(one.units for one in self._network.booked[vm.payer] if one.item_hash == item)
        return max(charged, int(vm.rate * int((until - left).total_seconds())) + 2)

    def _may_end(self, before: Vm, vm: Vm) -> bool:
        by_lease = vm.destroy_at is not None and vm.destroy_at >= before.expires_at
        return by_lease or self.panicked or vm.item_hash in self.destroyed | self.outside.ended

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
        # A listing of nothing while there are live rows says nothing: they end with their leases.
        unproven = set() if billed else leased
        lost_sight = {item for item, vm in rows.items() if vm.warned == GONE_UNVERIFIED}
        found = {
            "is billed without a live row": billed - leased,
            "has a live row and is not on the network": leased - billed - unproven,
            "is neither running nor over": open_,
            "was not looked up again": unseen,
            "runs on a CRN without being billed": runs
            - billed
            - unproven
            - (unlisted - set(rows))
            - lost_sight,
            "lost an extension that was published": early,
        }
        return [f"{item[:8]} {why}" for why, items in found.items() for item in sorted(items)]
