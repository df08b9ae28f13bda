"""Looks at what the payer grants to our key. What was revoked, no key of ours can end any more (rules.md 22)."""

import json
import logging
from typing import Any

from ..domain.clock import Clock
from ..domain.counting import be, counted
from ..domain.delegation import (
    BREAKS,
    entry_for,
    forget_command,
    grant_command,
    missing,
    suffices,
)
from ..domain.errors import Unavailable
from ..domain.model import LIVE, Vm, VmState
from ..ports import Inventory, Messages, NetworkTrouble, Signer
from .teardown import Teardown
from .treasury import Treasury

log = logging.getLogger(__name__)

_ROWS = 10_000
_COMMANDS = 20


class Delegation:
    """In delegated mode: one look at each sweep; what is not known stays as it was."""

    def __init__(
        self,
        inventory: Inventory,
        messages: Messages,
        signer: Signer,
        clock: Clock,
        treasury: Treasury,
        teardown: Teardown,
    ) -> None:
        self._inventory, self._messages, self._signer = inventory, messages, signer
        self._clock, self._treasury, self._teardown = clock, treasury, teardown
        self._granted: frozenset[str] | None = None
        self._stranded: list[Vm] = []
        """Billed VMs that our key cannot end."""

    @property
    def delegated(self) -> bool:
        """Whether somebody else pays for what our key signs."""
        return not self._signer.trouble and self._treasury.payer != self._signer.address

    async def look(self) -> None:
        """Read the grants, and tell when they changed."""
        if not self.delegated:
            return
        payer, agent = self._treasury.payer, self._signer.address
        try:
            granted = await self._messages.granted(payer, agent)
        except NetworkTrouble as trouble:
            log.warning("what %s grants is not known now: %s", payer, trouble)
            return
        before, self._granted = self._granted, granted
        rows = await self._inventory.page(states=sorted(LIVE), limit=_ROWS)
        billed = [vm for vm in rows if vm.billing and vm.broadcast_at and vm.payer != agent]
        self._stranded = [] if suffices(granted) else billed
        if before is not None and suffices(before) == suffices(granted):
            return
        if not suffices(granted):
            text = " ".join(self.alerts())
            log.error("%s", text)
            await self._inventory.record("delegation_missing", "", text, self._clock.now())
        elif before is not None:
            log.warning("%s grants what is needed again", payer)
            text = f"{payer} lets {agent} rent and end VMs again"
            await self._inventory.record("delegation_restored", "", text, self._clock.now())
            for vm in rows:
                if vm.state is VmState.DESTROYING:
                    self._teardown.start(vm)

    def check(self) -> None:
        """Raises Unavailable while it is known that the network would refuse a create."""
        if self._granted is None or suffices(self._granted) or not self.delegated:
            return
        agent = self._signer.address
        raise Unavailable(
            f"{self._missing()}; nothing was created.",
            f"Ask the owner to run this with the payer's key: {grant_command(agent)}  (or to add to the authorizations"
            f" of its security aggregate: {json.dumps(entry_for(agent))}); it is looked at again at every sweep:"
            " aleph-agentctl orphans --sweep",
            code="no_delegation",
            data={
                "payer": self._treasury.payer,
                "missing": missing(self._granted),
                "command": grant_command(agent),
                "authorization": entry_for(agent),
            },
        )

    def alerts(self) -> list[str]:
        """What is not granted, and which VMs only the payer can end, each with the command for it."""
        if self._granted is None or suffices(self._granted) or not self.delegated:
            return []
        told = [f"{self._missing()}. With the payer's key: {grant_command(self._signer.address)}"]
        if self._stranded:
            more = len(self._stranded) - _COMMANDS
            commands = [f"{vm.name}: {forget_command(vm.item_hash)}" for vm in self._stranded[:_COMMANDS]] + (
                [f"and {more} more: aleph-agentctl vms"] if more > 0 else []
            )
            told.append(
                f"{counted(len(self._stranded), 'VM')} {be(len(self._stranded), 'costs', 'cost')} money that this key cannot stop; with the payer's key: "
                + "; ".join(commands)
            )
        return told

    def figures(self) -> dict[str, Any]:
        """For `status`: what is granted, and what each missing grant breaks."""
        if not self.delegated:
            return {"delegated": False}
        lacks = None if self._granted is None else missing(self._granted)
        return {
            "delegated": True,
            "payer": self._treasury.payer,
            "granted": None if self._granted is None else sorted(self._granted),
            "missing": {kind: BREAKS[kind] for kind in lacks or []},
            "command": grant_command(self._signer.address) if lacks else "",
            "stranded": [vm.item_hash for vm in self._stranded],
        }

    def _missing(self) -> str:
        lacks = ", ".join(missing(self._granted or ()))
        return f"The payer {self._treasury.payer} does not let {self._signer.address} act for it (missing: {lacks})"
