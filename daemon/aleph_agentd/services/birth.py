"""From an intent on disk to a VM with an address: reserve, broadcast, `/status`, notify, the CRN's list.

Before every POST and every notify the row is read again: a VM that was ordered to end, whose lease is
over, or whose creation was frozen meanwhile is never broadcast and never notified (rules.md 5).
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from ..domain.clock import Clock
from ..domain.errors import Denied
from ..domain.freezes import scope_of
from ..domain.model import LEASED, SignedMessage, Vm, VmState
from ..ports import (
    Execution,
    Hosts,
    Inventory,
    KeyMissing,
    Messages,
    MessageStatus,
    NetworkTrouble,
    NotifyOutcome,
    ReserveOutcome,
    StaleRow,
)
from .freezes import Freezes

log = logging.getLogger(__name__)

BROADCAST_S = 60.0
"""How long the network may take to process the INSTANCE."""
NOTIFY_S = 75.0
ADDRESS_S = 600.0
"""How long a CRN may take from accepting a VM to naming its address."""
ASK_AGAIN_S = 60.0
"""After a restart: how long an open intent waits for its request to come again."""
_POSTS = 3
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.1, 2.0


class Stillborn(Exception):
    """This VM will not come to life; `another_crn_may_do`: the fault is the CRN's."""

    def __init__(self, why: str, *, another_crn_may_do: bool = False) -> None:
        super().__init__(why)
        self.another_crn_may_do = another_crn_may_do


class Birth:
    """Carries one intent to `running`, or raises Stillborn."""

    def __init__(
        self, inventory: Inventory, messages: Messages, hosts: Hosts, clock: Clock, freezes: Freezes
    ) -> None:
        self._inventory, self._messages, self._hosts, self._clock = inventory, messages, hosts, clock
        self._freezes = freezes
        self._asked: set[str] = set()

    def asked(self, create_id: str) -> None:
        """Somebody asks for this create in this life of the daemon: its bytes may be broadcast."""
        self._asked.add(create_id)

    async def run(self, vm: Vm) -> Vm:
        """Broadcast, notify, find the address."""
        self.asked(vm.create_id)
        try:
            vm = await self._broadcast(vm)
            vm = await self._notify(vm)
            return await self._find_address(vm)
        except StaleRow as stale:
            raise Stillborn(f"it was ordered to end meanwhile ({stale.vm.cause})") from stale
        finally:
            self._asked.discard(vm.create_id)

    async def resume(self, vm: Vm) -> Vm:
        """Go on after a restart. An intent is broadcast only if its request is asked again."""
        if vm.state is VmState.INTENDED:
            await self._wait_until_asked(vm)
        return await self.run(vm)

    async def _wait_until_asked(self, vm: Vm) -> None:
        async for _ in _beats(ASK_AGAIN_S):
            if vm.create_id in self._asked:
                return
            # Trouble says nothing, and an answer that says nothing is no reason to broadcast.
            with suppress(NetworkTrouble):
                if vm.broadcast_at and await self._messages.status(vm.item_hash) is not MessageStatus.UNKNOWN:
                    return
        raise Stillborn("the daemon was restarted before it was broadcast, and nobody asked again")

    # ------------------------------------------------------------------ steps

    async def _broadcast(self, vm: Vm) -> Vm:
        if vm.state is not VmState.INTENDED:
            return vm
        message = await self._inventory.create_message(vm.item_hash)
        if message is None:
            raise Stillborn("its signed message is not in the inventory")
        if vm.broadcast_at is None:
            await self._reserve(vm, message)
        posts = 0
        async for _ in _beats(BROADCAST_S):
            status = MessageStatus.UNKNOWN if vm.broadcast_at is None else await self._status(vm)
            if status is MessageStatus.UNKNOWN and posts < _POSTS:
                posts += 1
                vm = await self._may_still_be_born(vm, broadcast_at=vm.broadcast_at or self._clock.now())
                await self._post(message)
                status = await self._status(vm)
            if status.on_network:
                now = self._clock.now()
                return await self._inventory.move(
                    vm.item_hash, VmState.PROVISIONING, "the network took it", now, processed_at=now
                )
            if status is MessageStatus.REJECTED:
                raise Stillborn(await self._why_rejected(vm))
            if status.billing_ended:
                raise Stillborn(f"the network says that it is {status}")
        raise Stillborn("the network did not process it in time")

    async def _reserve(self, vm: Vm, message: SignedMessage) -> None:
        """A CRN that has given its GPU away meanwhile is found out before the VM costs anything."""
        try:
            answer = await self._hosts.reserve(vm.crn_url, message)
        except NetworkTrouble as trouble:
            raise Stillborn(
                f"the CRN does not answer ({trouble.reason})", another_crn_may_do=True
            ) from trouble
        except KeyMissing as missing:
            raise Stillborn(f"there is no usable key ({missing})") from missing
        if answer.outcome is ReserveOutcome.REFUSED:
            raise Stillborn(f"the CRN keeps no room for it: {answer.text}", another_crn_may_do=True)

    async def _notify(self, vm: Vm) -> Vm:
        if vm.state is not VmState.PROVISIONING or vm.notified_at is not None:
            return vm
        silent = 0
        async for _ in _beats(NOTIFY_S):
            await self._may_still_be_born(vm)
            try:
                answer = await self._hosts.notify(vm.crn_url, vm.item_hash)
            except NetworkTrouble as trouble:
                silent += 1
                if await self._listed(vm) is not None:
                    break
                if silent > 1:
                    raise Stillborn(
                        f"the CRN does not answer ({trouble.reason})", another_crn_may_do=True
                    ) from trouble
                continue
            if answer.outcome is NotifyOutcome.ACCEPTED:
                break
            if answer.outcome is not NotifyOutcome.TOO_EARLY:
                raise Stillborn(
                    f"the CRN refused it: {answer.text or answer.outcome}", another_crn_may_do=True
                )
        else:
            raise Stillborn("the CRN does not find the message", another_crn_may_do=True)
        return await self._inventory.note(
            vm.item_hash, states=frozenset({VmState.PROVISIONING}), notified_at=self._clock.now()
        )

    async def _find_address(self, vm: Vm) -> Vm:
        if vm.state is not VmState.PROVISIONING:
            return vm
        async for _ in _beats(ADDRESS_S):
            execution = await self._listed(vm)
            if execution and execution.running and execution.host_ipv4 and execution.ssh_port:
                now = self._clock.now()
                facts: dict[str, Any] = {
                    "host_ipv4": execution.host_ipv4,
                    "ssh_port": execution.ssh_port,
                    "ipv6": execution.ipv6,
                }
                return await self._inventory.move(
                    vm.item_hash,
                    VmState.RUNNING,
                    f"runs on {vm.crn_name or vm.crn_url}",
                    now,
                    running_at=now,
                    **facts,
                )
            await self._may_still_be_born(vm)
        raise Stillborn("its CRN never gave it an address", another_crn_may_do=True)

    # ------------------------------------------------------------------ helpers

    async def _may_still_be_born(self, vm: Vm, **facts: object) -> Vm:
        """Raises StaleRow once teardown was ordered, Stillborn once the lease is over."""
        if vm.expires_at <= self._clock.now():
            raise Stillborn("its lease ended before it ran")
        try:
            self._freezes.check_scope("create", scope_of(vm.project, vm.session))
        except Denied as frozen:
            raise Stillborn(f"creates were frozen meanwhile ({frozen.message})") from frozen
        return await self._inventory.note(vm.item_hash, states=LEASED, **facts)

    async def _status(self, vm: Vm) -> MessageStatus:
        """What the network says; trouble counts as pending: nothing is known, ask again."""
        try:
            return await self._messages.status(vm.item_hash)
        except NetworkTrouble:
            return MessageStatus.PENDING

    async def _listed(self, vm: Vm) -> Execution | None:
        try:
            return await self._hosts.execution(vm.crn_url, vm.item_hash)
        except NetworkTrouble:
            return None

    async def _why_rejected(self, vm: Vm) -> str:
        try:
            rejection = await self._messages.rejection(vm.item_hash)
        except NetworkTrouble:
            rejection = None
        return f"the network rejected it: {rejection.text}" if rejection else "the network rejected it"

    async def _post(self, message: SignedMessage) -> None:
        try:
            await self._messages.post(message)
        except NetworkTrouble as trouble:
            log.info("a broadcast was not answered (%s); its status decides", trouble)


async def _beats(seconds: float) -> AsyncIterator[int]:
    """0, 1, 2, … with growing pauses in between, for at most this long."""
    loop = asyncio.get_running_loop()
    deadline, pause, count = loop.time() + seconds, _FIRST_PAUSE_S, 0
    while True:
        yield count
        count += 1
        if loop.time() + pause > deadline:
            return
        await asyncio.sleep(pause)
        pause = min(_MAX_PAUSE_S, pause * 1.6)
