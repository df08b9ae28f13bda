"""The mutants: each breaks one promise of the daemon by a change that somebody might make."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One change of the daemon's source."""

    name: str
    why: str
    path: str
    """Of the module, below daemon/aleph_agentd."""
    old: str
    """As it stands there, exactly once."""
    new: str


MUTANTS = (
    Mutant(
        "forget-unconfirmed",
        "a FORGET that was answered is believed to have taken effect",
        "services/billing_end.py",
        """        for pause in _CONFIRM_PAUSES_S:
            status = await self._looks.status(vm.item_hash, MessageStatus.FORGOTTEN)
""",
        """        for pause in _CONFIRM_PAUSES_S:
            status = MessageStatus.FORGOTTEN
""",
    ),
    Mutant(
        "erase-unconfirmed",
        "an erase that was answered is done, without a look at the CRN's list",
        "services/erasure.py",
        "            if await self._hosts.execution(vm.crn_url, vm.item_hash) is None:\n                return\n",
        "            return\n",
    ),
    Mutant(
        "erase-refused",
        "a CRN that refuses to erase is taken at its word that it is somebody else's",
        "services/erasure.py",
        '            raise NotYet(f"CRN {vm.crn_name or vm.crn_url} refused to erase it")\n',
        "            return\n",
    ),
    Mutant(
        "notify-unchecked",
        "a notify does not look whether teardown has begun",
        "services/birth.py",
        "            await self._may_still_be_born(vm)\n            try:\n",
        "            try:\n",
    ),
    Mutant(
        "post-again-unchecked",
        "a broadcast is repeated without a look whether teardown has begun",
        "services/birth.py",
        "                vm = await self._may_still_be_born(vm, broadcast_at=vm.broadcast_at or self._clock.now())\n",
        "                if posts == 1:\n"
        "                    vm = await self._may_still_be_born(vm, broadcast_at=vm.broadcast_at or self._clock.now())\n",
    ),
    Mutant(
        "tombstones-unlooked-at",
        "a tombstone that comes to life is not noticed by any sweep",
        "services/repairs.py",
        "undead=(*findings.undead, *await self._come_to_life({vm.item_hash for vm in findings.undead})),",
        "undead=(),",
    ),
    Mutant(
        "extend-revives",
        "an extension does not look whether the lease is over",
        "adapters/store/leases.py",
        "vm.state not in LEASED or vm.expires_at <= now or asked.expires_at <= vm.expires_at",
        "vm.state not in LEASED or asked.expires_at <= vm.expires_at",
    ),
    Mutant(
        "reservations-uncounted",
        "admission counts what is spent, and not what is reserved",
        "adapters/store/exposure.py",
        "    reserved, unbilled = _bound(connection, now)\n",
        "    reserved, unbilled = 0, 0\n",
    ),
    Mutant(
        "session-uncounted",
        "admission does not count what the session has bound already",
        "adapters/store/exposure.py",
        "        session_units=number(_OF_SESSION, session=session),\n",
        "        session_units=0,\n",
    ),
    Mutant(
        "row-after-broadcast",
        "the bytes leave, then the row says so",
        "services/birth.py",
        "                vm = await self._may_still_be_born(vm, broadcast_at=vm.broadcast_at or self._clock.now())\n"
        "                await self._post(message)\n",
        "                await self._post(message)\n"
        "                vm = await self._may_still_be_born(vm, broadcast_at=vm.broadcast_at or self._clock.now())\n",
    ),
    Mutant(
        "intent-after-broadcast",
        "the bytes leave before the intent is on disk",
        "services/provisioner.py",
        "        return await self._inventory.admit(intent, decide, now, budgets_of(limits, case.project))\n",
        "        await self._birth._messages.post(create)\n"
        "        return await self._inventory.admit(intent, decide, now, budgets_of(limits, case.project))\n",
    ),
    Mutant(
        "frozen-broadcast",
        "a create that was admitted is not stopped by a freeze",
        "services/birth.py",
        '            self._freezes.check_scope("create", scope_of(vm.project, vm.session))\n',
        "            pass\n",
    ),
    Mutant(
        "frozen-admit",
        "a freeze stops nothing that is asked for",
        "services/freezes.py",
        "        self.check_scope(what, scope_of(caller.project, caller.session))\n",
        "        return\n",
    ),
    Mutant(
        "404-closes",
        "a 404 closes a row at once",
        "services/billing_end.py",
        "        if now - since >= UNKNOWN_PROOF and MessageStatus.PENDING not in opinions:\n",
        "        if MessageStatus.PENDING not in opinions:\n",
    ),
    Mutant(
        "404-ends",
        "a 404 on a running VM counts as its end",
        "services/staleness.py",
        "        return status.billing_ended\n",
        "        return status.billing_ended or status is MessageStatus.UNKNOWN\n",
    ),
    Mutant(
        "extend-by-old-clock",
        "an extension goes by the time at which it was asked for, however long ago that is",
        "services/extender.py",
        "        now = self._clock.now()\n        try:\n",
        "        now = vm.expires_at - timedelta(microseconds=1)\n        try:\n",
    ),
    Mutant(
        "booked-to-the-end",
        "the whole lease is booked, whenever the VM ended",
        "domain/model.py",
        "        return max(timedelta(), (self.forgotten_at or now) - self.broadcast_at)\n",
        "        return max(timedelta(), max(self.expires_at, self.forgotten_at or now) - self.broadcast_at)\n",
    ),
    Mutant(
        "booked-since-running",
        "the time until the VM had its address is not booked",
        "domain/model.py",
        "        return max(timedelta(), (self.forgotten_at or now) - self.broadcast_at)\n",
        "        return max(timedelta(), (self.forgotten_at or now) - (self.running_at or now))\n",
    ),
    Mutant(
        "alarm-unmoved",
        "the alarm does not follow what changes: leases end at the next interval",
        "services/reaper.py",
        '        self._timers.at("next deadline", at, self.run)\n',
        "        return\n",
    ),
)
