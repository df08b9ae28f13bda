"""Opens and closes ports of VMs. What is open is what the payer's aggregate on the network says, and nothing else.

There is no second account of it in the inventory that could disagree after a crash. Changes of one VM go one
after the other; another VM's cannot be lost, since the network merges the aggregate per VM.
"""

import asyncio
import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from ..domain.clock import Clock
from ..domain.delegation import entry_for, grant_command
from ..domain.errors import Conflict, Refusal, Unavailable, Unknown
from ..domain.forwards import Change, Forwards, shows
from ..domain.model import SignedMessage, Vm
from ..ports import (
    Execution,
    Hosts,
    Inventory,
    KeyMissing,
    Messages,
    MessageStatus,
    NetworkTrouble,
    Signer,
)
from .inside import check_running
from .jobs import Jobs

log = logging.getLogger(__name__)

_CONFIRM_PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0)
_SHOWN_PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
_SETTLES = timedelta(minutes=1)
"""So long a node may be behind with what we signed; also a post that failed may arrive."""
_TICK = timedelta(milliseconds=1)
_NOT_AUTHORISED = 2


@dataclass(frozen=True)
class Said:
    """The last that was signed of a VM."""

    forwards: Forwards
    dated_at: datetime


class Forwarding:
    """Changes what is open of one VM, and looks what its CRN makes of it."""

    def __init__(
        self, inventory: Inventory, messages: Messages, hosts: Hosts, signer: Signer, clock: Clock, jobs: Jobs
    ) -> None:
        self._inventory, self._messages, self._hosts, self._signer = inventory, messages, hosts, signer
        self._clock, self._jobs = clock, jobs
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._said: dict[str, Said] = {}

    async def change(self, vm: Vm, change: Change) -> Forwards:
        """What is open after it, read back from the network; it goes on when its caller hangs up. Raises Refusal."""
        check_running(vm)
        # The same change asked for twice at once is one.
        name = f"ports:{vm.item_hash}:{change.opens}:{change.port}/{change.protocol}"
        return await asyncio.shield(self._jobs.start(name, lambda: self._change(vm, change)))

    async def open_now(self, vm: Vm) -> Forwards:
        """What the network says. Raises Refusal."""
        try:
            return (await self._messages.forwards(vm.payer)).get(vm.item_hash, {})
        except NetworkTrouble as trouble:
            raise Unavailable(
                f"It cannot be seen which ports of {vm.name} are open: {trouble}. Nothing was changed.",
                "Try again in a minute.",
            ) from trouble

    async def mapped(self, vm: Vm, wanted: Forwards) -> tuple[Execution | None, bool]:
        """What its CRN shows, and whether it is what is wanted; waits a while for that. None: it shows nothing."""
        try:
            await self._hosts.refresh_ports(vm.crn_url, vm.item_hash)
        except NetworkTrouble as trouble:
            log.info("whether %s looked at the ports of %s is not known: %s", vm.crn_url, vm.name, trouble)
        execution = None
        for pause in _SHOWN_PAUSES_S:
            await asyncio.sleep(pause)
            try:
                execution = await self._hosts.execution(vm.crn_url, vm.item_hash) or execution
            except NetworkTrouble as trouble:
                log.info("what %s forwards to %s is not known: %s", vm.crn_url, vm.name, trouble)
            if execution is not None and shows(execution.forwarded, wanted):
                return execution, True
        return execution, False

    async def close_all(self, vm: Vm) -> None:
        """Take a VM that ends out of the aggregate; a later look tells what became of it.

        Raises NetworkTrouble, KeyMissing.
        """
        async with self._turn(vm):
            await self._messages.post(await self._sign(vm, {}))

    # ------------------------------------------------------------------ steps

    async def _change(self, vm: Vm, change: Change) -> Forwards:
        async with self._turn(vm):
            found = await self.open_now(vm)
            said = self._said.get(vm.item_hash)
            # A node may not have heard our last word yet, and a post that failed may still arrive.
            is_recent = said is not None and self._clock.now() - said.dated_at < _SETTLES
            after = change.of(said.forwards if said is not None and is_recent else found)
            if after != found:
                await self._publish(vm, after)
            return after

    def _turn(self, vm: Vm) -> asyncio.Lock:
        return self._turns.setdefault(vm.item_hash, asyncio.Lock())

    async def _publish(self, vm: Vm, after: Forwards) -> None:
        row = await self._inventory.get(vm.item_hash)
        check_running(row or vm)  # its end may have begun meanwhile
        try:
            message = await self._sign(vm, after)
        except KeyMissing as missing:
            raise Unavailable(
                f"There is no usable key: {missing}. Nothing was changed.",
                "Ask the owner to put it right.",
                code="no_key",
            ) from missing
        trouble = ""
        try:
            await self._messages.post(message)
        except NetworkTrouble as why:
            trouble = f"{why}"
        for pause in _CONFIRM_PAUSES_S:
            await asyncio.sleep(pause)
            try:
                if await self._is_there(vm, after):
                    return
            except NetworkTrouble as why:
                trouble = f"{why}"
        raise await self._why_not(vm, message, trouble)

    async def _is_there(self, vm: Vm, after: Forwards) -> bool:
        found = (await self._messages.forwards(vm.payer)).get(vm.item_hash)
        return found == after if after else not found

    async def _sign(self, vm: Vm, after: Forwards) -> SignedMessage:
        """Dated later than the last one of this VM: the network ignores an older one."""
        said, now = self._said.get(vm.item_hash), self._clock.now()
        dated_at = now if said is None else max(now, said.dated_at + _TICK)
        message = await self._signer.sign_ports(vm.item_hash, vm.payer, after, dated_at)
        for item_hash in [item for item, old in self._said.items() if now - old.dated_at >= _SETTLES]:
            del self._said[item_hash]
        self._said[vm.item_hash] = Said(after, dated_at)
        return message

    async def _why_not(self, vm: Vm, message: SignedMessage, trouble: str) -> Refusal:
        """It could not be read back: what the network says of the message decides."""
        try:
            status = await self._messages.status(message.item_hash)
            why = await self._messages.rejection(message.item_hash) if _rejected(status) else None
        except NetworkTrouble as again:
            return self._unknown(vm, f"{again}")
        if why is not None:
            self._said.pop(vm.item_hash, None)
            return self._not_granted(vm) if why.error_code == _NOT_AUTHORISED else _refused(why.text)
        if status is MessageStatus.PROCESSED and not trouble:
            self._said.pop(vm.item_hash, None)
            return Conflict(
                f"The network took the change, but one dated later stands: {vm.payer} made it, or a clock is wrong.",
                _look(vm),
                code="later_change",
            )
        return self._unknown(vm, trouble or f"the network says {status} of it")

    def _unknown(self, vm: Vm, why: str) -> Unknown:
        return Unknown(f"It is not known whether the ports of {vm.name} were changed: {why}.", _look(vm))

    def _not_granted(self, vm: Vm) -> Unavailable:
        agent = self._signer.address
        return Unavailable(
            f"The payer {vm.payer} does not let {agent} change its aggregate port-forwarding; no port was opened or closed.",
            f"Ask the owner to run this with the payer's key: {grant_command(agent)}  (or to add to the authorizations"
            f" of its security aggregate: {json.dumps(entry_for(agent))}), then call again. SSH on port 22 works without it.",
            code="no_delegation",
            data={
                "payer": vm.payer,
                "missing": ["AGGREGATE"],
                "command": grant_command(agent),
                "authorization": entry_for(agent),
            },
        )


def _rejected(status: MessageStatus) -> bool:
    return status is MessageStatus.REJECTED


def _refused(text: str) -> Unavailable:
    return Unavailable(
        f"The network refused the change: {text}.", "Try again in a minute.", code="network_refused"
    )


def _look(vm: Vm) -> str:
    return f"Call aleph_vm_ports with item_hash={vm.item_hash} and action=list; if it is not as wanted, call again."
