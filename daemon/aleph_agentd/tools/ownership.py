"""Which VM an argument names, and whether this caller may act on it (rules.md 14)."""

import re

from ..domain.errors import Denied, NotFound
from ..domain.model import LEASED, Vm
from ..ports import KeyMissing, OtherKey
from .base import Call

_FORMER_KEY = "Ask the owner to give the daemon the former key back (ALEPH_AGENT_PRIVATE_KEY_PATH)."
_HASH = re.compile(r"[0-9a-f]{64}")


async def resolve(call: Call, reference: str) -> Vm:
    """The VM with this hash, or one of this session's by name or unique prefix of at least 8 characters."""
    rows = await call.services.inventory.find(reference)
    if not _HASH.fullmatch(reference) and not call.caller.peer.human:
        rows = [vm for vm in rows if vm.session == call.caller.session]
    if len(rows) > 1:  # an attempt that failed may still be erased under the name of the one that lives
        rows = [vm for vm in rows if vm.state in LEASED] or rows
    if len(rows) == 1:
        return rows[0]
    if rows:
        names = ", ".join(f"{vm.name} ({vm.item_hash[:16]})" for vm in rows[:5])
        raise NotFound(f"{reference[:80]!r} fits {len(rows)} VMs: {names}.", "Give the full item_hash.")
    raise NotFound(
        f"This session has no VM {reference[:80]!r}.",
        "Call aleph_list_my_vms. A VM of another session is named by its full item_hash.",
    )


def may_act(call: Call, vm: Vm) -> None:
    """Denied unless the VM belongs to this session or its project, or a human asks."""
    caller = call.caller
    same_project = bool(vm.project) and vm.project == caller.project
    if caller.peer.human or vm.session == caller.session or same_project:
        return
    raise Denied(
        f"{vm.name} belongs to another project; from here it can only be looked at.",
        f"Ask the owner to run: aleph-agentctl destroy {vm.item_hash[:16]}   (or: extend)",
        code="not_yours",
    )


def same_key(call: Call, vm: Vm) -> None:
    """The mission's guard: only the key that created a VM can end it. What it signed before is the owner's to use."""
    try:
        address = call.services.signer.address
    except OtherKey as other:
        if call.caller.peer.human:
            return
        raise Denied(f"{vm.name} cannot be ended. {other}.", _FORMER_KEY, code="other_key") from other
    except KeyMissing:
        return
    if vm.signer and vm.signer != address:
        raise Denied(
            f"{vm.name} was created with the key {vm.signer}; the daemon now has {address}, which cannot end it.",
            _FORMER_KEY,
            code="other_key",
        )
