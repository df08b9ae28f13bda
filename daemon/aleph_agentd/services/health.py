"""Looks at running VMs: one list per CRN, a knock at SSH, what the network is removing. Flags, and tells.

Nothing that it sees ends a VM, unless the owner has asked for that with TEARDOWN_UNREACHABLE.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..domain.clock import Clock, iso
from ..domain.health import FLAGS, UNREACHABLE, Seen, flag_of, to_end, words
from ..domain.model import Vm, VmState
from ..ports import Execution, Hosts, Inventory, KeyMissing, Messages, NetworkTrouble, Signer, StaleRow
from .pace import Pace
from .teardown import Teardown

log = logging.getLogger(__name__)

CONNECTIONS_PER_S, AT_ONCE = 10.0, 8
MOST_KNOCKS = 300
"""Knocks at SSH in one pass, those first that were not tried for longest."""
_ROWS = 10_000
_ALERTS = 5
_RUNNING = frozenset({VmState.RUNNING})


@dataclass(frozen=True)
class HealthSettings:
    """What the owner decides."""

    unreachable_after: timedelta
    teardown_unreachable: bool = False


class Look:
    """What one pass has seen."""

    def __init__(self, vms: list[Vm]) -> None:
        self.vms = vms
        self.listed: dict[str, Execution | None] = {}
        """By hash; None: its CRN's list answered without it. Not in here: nothing is known."""
        self.answers: dict[str, bool] = {}
        self.removing: frozenset[str] | None = None

    @property
    def blind(self) -> bool:
        """Whether nothing at all answered: then it says nothing about any VM."""
        return not self.listed and self.removing is None and not any(self.answers.values())


class Health:
    """One pass a minute. What it remembers begins anew with each start of the daemon."""

    def __init__(
        self,
        inventory: Inventory,
        messages: Messages,
        hosts: Hosts,
        signer: Signer,
        clock: Clock,
        teardown: Teardown,
        settings: HealthSettings,
    ) -> None:
        self._inventory, self._messages, self._hosts, self._signer = inventory, messages, hosts, signer
        self._clock, self._teardown, self._settings = clock, teardown, settings
        self._pace = Pace(CONNECTIONS_PER_S, AT_ONCE)
        self._seen: defaultdict[str, Seen] = defaultdict(Seen)
        self._pass = 0
        self._figures: dict[str, Any] = {"at": None}
        self._unwell: list[str] = []
        self._halted = ""

    async def run(self) -> None:
        """One pass."""
        now, opened = self._clock.now(), self._pace.opened
        self._pass += 1
        rows = await self._inventory.page(states=[VmState.RUNNING], limit=_ROWS)
        look = Look([vm for vm in rows if vm.expires_at > now])
        living = {vm.item_hash for vm in look.vms}
        for ended in self._seen.keys() - living:
            del self._seen[ended]
        if look.vms:
            await asyncio.gather(self._ask_network(look), self._ask_hosts(look))
            await self._knock(look)
        if look.blind and look.vms:
            log.warning("health: neither a node nor a VM answered; nothing is said about any VM")
        else:
            await self._judge(look)
        self._figures = {
            "at": iso(now),
            "watched": len(look.vms),
            "crns": len({vm.crn_url for vm in look.vms}),
            "knocked": len(look.answers),
            "unwell": len(self._unwell),
            "connections": self._pace.opened - opened,
            "connections_per_s": self._pace.per_s,
            "trouble": "nothing answered" if look.blind and look.vms else self._halted,
        }

    def figures(self) -> dict[str, Any]:
        """The last pass and its budget, for `status`."""
        return dict(self._figures)

    def alerts(self) -> list[str]:
        """Who is not well, in words."""
        more = len(self._unwell) - _ALERTS
        told = [*self._unwell[:_ALERTS], *([f"And {more} more VMs are not well."] if more > 0 else [])]
        return [*told, *([f"No unreachable VM is ended: {self._halted}."] if self._halted else [])]

    # ------------------------------------------------------------------ looking

    async def _ask_network(self, look: Look) -> None:
        try:
            async with self._pace.turn():
                look.removing = await self._messages.removing(self._signer.address)
        except (NetworkTrouble, KeyMissing) as trouble:
            log.info("health: what the network is removing is not known: %s", trouble)

    async def _ask_hosts(self, look: Look) -> None:
        hosts: defaultdict[str, list[str]] = defaultdict(list)
        for vm in look.vms:
            if vm.crn_url:
                hosts[vm.crn_url].append(vm.item_hash)
        await asyncio.gather(*(self._ask_host(look, url, ours) for url, ours in hosts.items()))

    async def _ask_host(self, look: Look, url: str, ours: list[str]) -> None:
        try:
            async with self._pace.turn():
                found = await self._hosts.executions(url, ours)
        except NetworkTrouble as trouble:
            log.info("health: %s", trouble)
            return
        await self._teardown.host_answers(url)
        look.listed |= {item_hash: found.get(item_hash) for item_hash in ours}

    async def _knock(self, look: Look) -> None:
        doors = [vm for vm in look.vms if vm.host_ipv4 and vm.ssh_port]
        longest_ago = sorted(doors, key=lambda vm: self._seen[vm.item_hash].knocked)[:MOST_KNOCKS]
        await asyncio.gather(*(self._knock_at(look, vm) for vm in longest_ago))

    async def _knock_at(self, look: Look, vm: Vm) -> None:
        async with self._pace.turn():
            look.answers[vm.item_hash] = await self._hosts.ssh_answers(vm.host_ipv4, vm.ssh_port)

    # ------------------------------------------------------------------ judging

    async def _judge(self, look: Look) -> None:
        now, patience = self._clock.now(), self._settings.unreachable_after
        self._unwell, silent = [], []
        for vm in look.vms:
            seen = self._seen[vm.item_hash]
            self._learn(seen, look, vm, now)
            await self._follow(vm, look.listed.get(vm.item_hash))
            # What is not known stays as it was.
            removing = vm.warned == "removing" if look.removing is None else vm.item_hash in look.removing
            flag = flag_of(seen, now, removing=removing, patience=patience)
            await self._flag(vm, flag, now)
            if flag:
                self._unwell.append(f"{vm.name} ({vm.item_hash[:12]}): {words(flag, patience)}.")
            if look.answers.get(vm.item_hash) is False and seen.silent_for(now) >= patience:
                silent.append(vm)
        await self._end(silent, look)

    def _learn(self, seen: Seen, look: Look, vm: Vm, now: datetime) -> None:
        if vm.item_hash in look.listed:
            seen.unlisted = 0 if look.listed[vm.item_hash] else seen.unlisted + 1
        if (answers := look.answers.get(vm.item_hash)) is not None:
            seen.silent_since = None if answers else seen.silent_since or now
            seen.knocked = self._pass

    async def _follow(self, vm: Vm, found: Execution | None) -> None:
        """A CRN that was restarted may have given the VM another port."""
        if found is None or not (found.host_ipv4 and found.ssh_port):
            return
        if (found.host_ipv4, found.ssh_port) != (vm.host_ipv4, vm.ssh_port):
            place = f"{found.host_ipv4}:{found.ssh_port}"
            await self._note(vm, host_ipv4=found.host_ipv4, ssh_port=found.ssh_port, ipv6=found.ipv6)
            await self._inventory.record(
                "moved", vm.item_hash, f"{vm.name}: SSH is at {place}", self._clock.now()
            )

    async def _flag(self, vm: Vm, flag: str, now: datetime) -> None:
        if vm.warned == flag or vm.warned not in ("", *FLAGS):
            return  # as it is, or somebody else's flag
        if await self._note(vm, warned=flag):
            text = words(flag, self._settings.unreachable_after)
            log.warning("%s (%s): %s", vm.name, vm.item_hash[:12], text)
            await self._inventory.record(flag or "well", vm.item_hash, f"{vm.name}: {text}", now)

    async def _note(self, vm: Vm, **facts: object) -> bool:
        try:
            await self._inventory.note(vm.item_hash, states=_RUNNING, **facts)
        except StaleRow:
            return False  # it ends meanwhile
        return True

    async def _end(self, silent: Iterable[Vm], look: Look) -> None:
        if not self._settings.teardown_unreachable:
            return
        answering = [item_hash for item_hash, answers in look.answers.items() if answers]
        ending, self._halted = to_end(list(silent), answering, len(look.vms))
        for vm in ending:
            self._teardown.start(
                await self._teardown.order(
                    vm.item_hash, f"{UNREACHABLE}: {words(UNREACHABLE, self._settings.unreachable_after)}"
                )
            )
