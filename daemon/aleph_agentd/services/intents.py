"""From a plan to what is signed and what is stored. Pure."""

from datetime import datetime

from ..domain.caller import Caller
from ..domain.model import Stamp, Vm, VmState
from ..ports import InstanceSpec
from .quotes import Plan


def instance_spec(plan: Plan, payer: str, rootfs: str, lease: Stamp, guest_pubkey: str = "") -> InstanceSpec:
    """What the INSTANCE message says. No name, no purpose: it is public for ever (rules.md 10)."""
    return InstanceSpec(
        payer=payer,
        crn=plan.crn,
        vcpus=plan.size.vcpus,
        memory_mib=plan.size.memory_mib,
        disk_mib=plan.size.disk_mib,
        rootfs=rootfs,
        ssh_pubkey=plan.request.ssh_pubkey,
        stamp=lease,
        guest_pubkey=guest_pubkey,
        gpu=plan.gpu,
    )


def new_row(
    plan: Plan, spec: InstanceSpec, item_hash: str, caller: Caller, create_id: str, signer: str, now: datetime
) -> Vm:
    """The row of a VM that is about to be broadcast."""
    return Vm(
        item_hash=item_hash,
        lease_id=spec.stamp.lease_id,
        create_id=create_id,
        name=plan.request.name,
        purpose=plan.request.purpose,
        state=VmState.INTENDED,
        cause=f"asked for by {caller.client or 'a session'}",
        session=caller.session,
        project=caller.project,
        client=caller.client,
        uid=caller.peer.uid,
        payer=spec.payer,
        signer=signer,
        crn_hash=plan.crn.hash,
        crn_name=plan.crn.name,
        crn_url=plan.crn.url,
        compute_units=plan.size.compute_units,
        vcpus=spec.vcpus,
        memory_mib=spec.memory_mib,
        disk_mib=spec.disk_mib,
        os_image=plan.request.os_image,
        rate=plan.rate,
        created_at=now,
        expires_at=spec.stamp.expires_at,
        idle_minutes=plan.request.idle_minutes,
        save_paths=plan.request.save_paths,
    )
