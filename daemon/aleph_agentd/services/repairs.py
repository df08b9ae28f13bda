"""What a sweep does about what it saw: rows for our own, an end for the undead and the abandoned, flags for the rest.

Nothing here ends a VM whose lease runs, and nothing of it is done when it would end too many at once.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from ..domain.clock import Clock
from ..domain.model import NetworkInstance, PublishedEnd, Vm
from ..domain.reconcile import Findings, abandoned, lease_end, too_many
from ..ports import Hosts, Inventory, KeyMissing, Messages, NetworkTrouble, Signer, StaleRow
from .adopter import Adopter
from .jobs import Jobs
from .staleness import Staleness
from .teardown import Teardown

log = logging.getLogger(__name__)

TOMBSTONE_DAYS = 30
RECHECKS = 5
"""Tombstones that one sweep asks the network about."""
_LOCATED_AT_ONCE = 8
_LOCATED = 64
Ends = Mapping[str, PublishedEnd] | None


@dataclass(frozen=True)
class Condemned:
    """What one sweep would end."""

    undead: tuple[Vm, ...]
    abandoned: tuple[tuple[NetworkInstance, PublishedEnd], ...]
    forgotten: tuple[Vm, ...]

    @property
    def count(self) -> int:
        """How many."""
        return len(self.undead) + len(self.abandoned) + len(self.forgotten)


class Repairs:
    """Acts on the findings of a sweep without trouble."""

    def __init__(
        self,
        inventory: Inventory,
        messages: Messages,
        hosts: Hosts,
        signer: Signer,
        clock: Clock,
        jobs: Jobs,
        *,
        adopter: Adopter,
        teardown: Teardown,
    ) -> None:
        self._inventory, self._messages, self._hosts, self._signer = inventory, messages, hosts, signer
        self._clock, self._jobs, self._adopter, self._teardown = clock, jobs, adopter, teardown
        self._staleness = Staleness(inventory, messages, clock)

    async def run(self, findings: Findings, *, anyway: bool) -> Findings:
        """Act; the findings that are left for people. `anyway`: a human has decided, also on many at once."""
        ends = await self.ends(findings)
        findings = await self.take_in(findings, ends)
        condemned = Condemned(
            undead=(*findings.undead, *await self._come_to_life({vm.item_hash for vm in findings.undead})),
            abandoned=self._abandoned(findings.strangers, ends),
            forgotten=await self._staleness.look(findings.stale, findings.back),
        )
        findings = replace(findings, undead=condemned.undead)
        halted = too_many(condemned.count, findings.listed + len(findings.stale))
        if halted and not anyway:
            return replace(findings, halted=halted)
        reaped = await self._end(condemned)
        self._jobs.start("locate", lambda: self._locate([*findings.unlocated, *findings.adopted]))
        return replace(
            findings, strangers=tuple(item for item in findings.strangers if item.item_hash not in reaped)
        )

    async def ends(self, findings: Findings) -> Ends:
        """The published extensions; None when they cannot be read, nothing is asked when nobody needs them."""
        if not (findings.lost or findings.strangers):
            return {}
        try:
            return await self._messages.published_ends(self._signer.address)
        except (NetworkTrouble, KeyMissing) as trouble:
            log.warning("the published extensions cannot be read: %s", trouble)
            return None

    async def adopt(self, items: Iterable[NetworkInstance], ends: Ends, cause: str) -> list[Vm]:
        """Rows for those of them whose lease is known."""
        adopted = []
        for item in items:
            if end := lease_end(item, ends, self._clock.now()):
                try:
                    adopted.append(await self._adopter.adopt(item, end, cause))
                except (NetworkTrouble, KeyMissing) as trouble:
                    log.warning("%s cannot be taken in yet: %s", item.item_hash[:12], trouble)
        return adopted

    async def take_in(self, findings: Findings, ends: Ends) -> Findings:
        """Rows for what this installation stamped; what has to wait stays among the lost."""
        adopted = await self.adopt(findings.lost, ends, "found on the network with this installation's stamp")
        known = {vm.item_hash for vm in adopted}
        left = tuple(item for item in findings.lost if item.item_hash not in known)
        return replace(findings, adopted=(*findings.adopted, *adopted), lost=left)

    # ------------------------------------------------------------------ steps

    def _abandoned(
        self, strangers: Iterable[NetworkInstance], ends: Ends
    ) -> tuple[tuple[NetworkInstance, PublishedEnd], ...]:
        now = self._clock.now()
        return tuple((item, end) for item in strangers if (end := abandoned(item, ends, now)))

    async def _come_to_life(self, known: set[str]) -> list[Vm]:
        """Tombstones whose bytes are public, asked after one by one: another node may have taken them (rules.md 2)."""
        now, found = self._clock.now(), []
        for vm in await self._inventory.unproven(now - timedelta(days=TOMBSTONE_DAYS), RECHECKS):
            try:
                status = await self._messages.status(vm.item_hash)
            except NetworkTrouble:
                break
            await self._inventory.note(vm.item_hash, verified_at=now)
            if status.on_network and vm.item_hash not in known:
                found.append(vm)
        return found

    async def _end(self, condemned: Condemned) -> set[str]:
        """Order it all; the strangers that are rows now."""
        for vm in condemned.undead:
            await self._bury_again(vm)
        for vm in condemned.forgotten:
            self._teardown.start(
                await self._teardown.order(vm.item_hash, "the network says that it is forgotten")
            )
        reaped = set()
        for item, end in condemned.abandoned:
            try:
                vm = await self._adopter.adopt(item, end, "another installation left it past its lease")
            except (NetworkTrouble, KeyMissing) as trouble:
                log.warning("%s cannot be ended yet: %s", item.item_hash[:12], trouble)
                continue
            reaped.add(vm.item_hash)
            self._teardown.start(await self._teardown.order(vm.item_hash, vm.cause))
        return reaped

    async def _bury_again(self, vm: Vm) -> None:
        """A listing may be behind: only what `/status` says decides."""
        try:
            if (await self._messages.status(vm.item_hash)).on_network:
                self._teardown.start(await self._teardown.revive(vm, "the network lists it again"))
        except NetworkTrouble as trouble:
            log.warning("%s cannot be looked at: %s", vm.item_hash[:12], trouble)
        except StaleRow:
            return

    async def _locate(self, vms: list[Vm]) -> None:
        """The hosts and addresses of adopted VMs, a few at a time."""
        turn = asyncio.Semaphore(_LOCATED_AT_ONCE)

        async def one(vm: Vm) -> None:
            async with turn:
                await self.locate(vm)

        await asyncio.gather(*(one(vm) for vm in vms[:_LOCATED]))

    async def locate(self, vm: Vm) -> None:
        """Note its host and its address, as far as they are known now."""
        try:
            if not vm.crn_url and (crn := await self._adopter.crn(vm.crn_hash)):
                vm = await self._inventory.note(vm.item_hash, crn_url=crn.url, crn_name=crn.name)
            execution = await self._hosts.execution(vm.crn_url, vm.item_hash) if vm.crn_url else None
            if execution and execution.host_ipv4 and execution.ssh_port:
                await self._inventory.note(
                    vm.item_hash,
                    host_ipv4=execution.host_ipv4,
                    ssh_port=execution.ssh_port,
                    ipv6=execution.ipv6,
                )
        except NetworkTrouble as trouble:
            log.info("the address of %s is not known yet: %s", vm.name, trouble)
