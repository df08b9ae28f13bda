"""aleph_vm_power: reboot a VM, or put its first disk back."""

import asyncio
from typing import Literal

from pydantic import Field

from ..domain.errors import Conflict, Unavailable, Unknown
from ..domain.model import Vm, VmState
from ..ports import KeyMissing, NetworkTrouble, RestartOutcome
from .base import Answer, Arguments, Call, Tool
from .confirming import check_token, token_for
from .ownership import may_act, resolve, same_key
from .views import footer


class PowerArguments(Arguments):
    """Which, and what."""

    item_hash: str = Field(min_length=1, max_length=128, description="Hash, or name of a VM of this session")
    action: Literal["reboot", "reinstall"] = Field(
        description="reinstall wipes the disk: answers a token first, then wants the full hash with it"
    )
    token: str = Field("", max_length=64)


class Powered(Answer):
    """`rebooting`, `reinstalling`, or `confirm`: nothing happened yet."""

    status: str
    item_hash: str
    name: str
    token: str = Field("", description="Confirms the reinstall of exactly this VM")
    next: str = ""


async def run(call: Call, arguments: PowerArguments) -> Powered:
    """Ask its CRN. The lease and its cost go on meanwhile."""
    vm = await resolve(call, arguments.item_hash.strip())
    may_act(call, vm)
    same_key(call, vm)
    _check_running(vm)
    wipes = arguments.action == "reinstall"
    if wipes and not arguments.token:
        return Powered(
            **await footer(call, vm),
            status="confirm",
            item_hash=vm.item_hash,
            name=vm.name,
            token=token_for(call, "reinstall", [vm]),
            next=f"Nothing happened. Everything on {vm.name}'s disk would be lost: if the user agrees, call again with item_hash={vm.item_hash} and the token.",
        )
    if wipes:
        _check_hash(arguments, vm)
        check_token(call, "reinstall", [vm], arguments.token)
        # A job: a caller that hangs up meanwhile does not leave half of it.
        job = call.services.jobs.start(f"reinstall:{vm.item_hash}", lambda: _reinstall(call, vm))
        await asyncio.shield(job)
    else:
        await _ask(call, vm, "reboot")
    return Powered(
        **await footer(call, vm),
        status="reinstalling" if wipes else "rebooting",
        item_hash=vm.item_hash,
        name=vm.name,
        next="Call aleph_wait_vm until SSH answers." + (" Its host key is a new one." if wipes else ""),
    )


def _check_running(vm: Vm) -> None:
    if vm.state is not VmState.RUNNING:
        raise Conflict(
            f"{vm.name} is {vm.state}; only a running VM can be restarted.",
            "Look at aleph_list_my_vms; wait with aleph_wait_vm while it is set up.",
            code="not_running",
        )


def _check_hash(arguments: PowerArguments, vm: Vm) -> None:
    if arguments.item_hash.strip() != vm.item_hash:
        raise Conflict(
            "A reinstall is confirmed with the full hash.",
            f"Call again with item_hash={vm.item_hash}.",
            code="not_confirmed",
        )


async def _reinstall(call: Call, vm: Vm) -> None:
    """Whoever reaches the VM while its CRN is asked still meets the old disk, and pins that one's key again."""
    inventory, setup = call.services.inventory, call.services.setup
    key, script = await inventory.guest_key(vm.item_hash), await inventory.setup_of(vm.item_hash)
    # Before it, too: a crash in between costs a first contact, not the way in.
    await inventory.new_disk(vm.item_hash)
    try:
        await _ask(call, vm, "reinstall")
    except Unavailable:
        await inventory.same_disk(
            vm.item_hash, key.host_key if key else "", script.result if script else None
        )
        setup.begin(vm)
        raise
    except Unknown:
        await setup.anew(vm)
        raise
    await setup.anew(vm)


async def _ask(call: Call, vm: Vm, action: str) -> None:
    try:
        outcome = await call.services.hosts.restart(vm.crn_url, vm.item_hash, wipe=action == "reinstall")
    except KeyMissing as missing:
        raise Unavailable(
            f"There is no usable key: {missing}.", "Ask the owner to put it right.", code="no_key"
        ) from missing
    except NetworkTrouble as trouble:
        raise Unknown(
            f"It is not known whether the {action} took effect: {trouble}.",
            "Call aleph_wait_vm; if SSH answers and nothing changed, try again.",
        ) from trouble
    if outcome is RestartOutcome.NOT_OFFERED:
        raise Unavailable(
            f"Its CRN does not know {vm.name}, or does not offer {action}.",
            "Look at aleph_list_my_vms. To begin anew: aleph_destroy_vm, then aleph_create_vm.",
            code="not_offered",
        )
    if outcome is RestartOutcome.REFUSED:
        raise Unavailable(f"Its CRN refused the {action}.", "Try again in a minute.", code="crn_refused")


TOOL = Tool(
    name="aleph_vm_power",
    title="Restart VM",
    description="Reboot a VM, or reinstall its first image. Lease and cost go on.",
    arguments=PowerArguments,
    answer=Powered,
    run=run,
    destructive=True,
)
