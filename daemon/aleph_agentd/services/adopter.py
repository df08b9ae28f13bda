"""Writing rows for VMs that only the network knows: size, host and lease from their messages, money by the live price."""

import logging
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from ..domain import money
from ..domain.caller import Caller, Peer
from ..domain.clock import Clock
from ..domain.compute_units import MEMORY_MIB
from ..domain.gpu import GPU_MEMORY_MIB, dearest_unit
from ..domain.model import Crn, NetworkInstance, PublishedEnd, Vm, VmState
from ..domain.policy import reserve_units
from ..ports import Admission, Inventory, Market, NetworkTrouble, Signer
from .billing_end import FORGETS_PER_VM

log = logging.getLogger(__name__)

NOBODY = Caller("", Peer(-1, 0))
"""Whose a row is that no session asked for."""


class Adopter:
    """One orphan, one row: with its kill switches, its reservation, and a lease that the reaper enforces."""

    def __init__(self, inventory: Inventory, market: Market, signer: Signer, clock: Clock) -> None:
        self._inventory, self._market, self._signer, self._clock = inventory, market, signer, clock

    async def adopt(self, item: NetworkInstance, end: PublishedEnd, cause: str) -> Vm:
        """The row of this VM, new or not. Raises NetworkTrouble without a price, KeyMissing without a key."""
        return await self.write(await self.draft(item, end, cause), None)

    async def draft(self, item: NetworkInstance, end: PublishedEnd, cause: str, owner: Caller = NOBODY) -> Vm:
        """The row that it would get. Raises NetworkTrouble without a price."""
        rate, crn = await self.rate(item), await self.crn(item.crn_hash)
        image, now = self._image(item.rootfs), self._clock.now()
        row = adopted_row(item, end, rate, crn, image, cause, now)
        return replace(
            row, session=owner.session, project=owner.project, client=owner.client, uid=owner.peer.uid
        )

    async def write(self, vm: Vm, admission: Admission | None) -> Vm:
        """The row, with its kill switches and its reservation. Raises KeyMissing; StaleRow if it is not new to an admission."""
        forgets = await self._signer.sign_forgets(vm.item_hash, vm.payer, FORGETS_PER_VM)
        now = self._clock.now()
        log.warning("taking in %s (%s): %s", vm.name, vm.item_hash[:12], vm.cause)
        life = money.exact_s(max(vm.expires_at, now) - vm.created_at)
        reserve = reserve_units(vm.hourly_units, life)
        return await self._inventory.adopt(vm, forgets, reserve, now, admission)

    async def rate(self, item: NetworkInstance) -> Decimal:
        """What it costs, in units per second; a GPU's price is the network's word for this VM, else the dearest."""
        price, units = await self._market.price(), compute_units(item)
        if not item.gpus:
            return price.cu_rate * units
        try:
            told = (await self._market.rates(item.payer)).get(item.item_hash)
        except NetworkTrouble:
            told = None
        # Never below what the same size costs without a GPU: whatever is told, it is not sold for less.
        least = price.cu_rate * units
        return max(least, dearest_unit(price.gpus, price.cu_rate) * units if told is None else told)

    async def crn(self, crn_hash: str) -> Crn | None:
        """This CRN on the list; None when it is not on it, or there is no list."""
        try:
            listed = (await self._market.crns()).crns if crn_hash else ()
        except NetworkTrouble:
            return None
        return next((crn for crn in listed if crn.hash == crn_hash), None)

    def _image(self, rootfs: str) -> str:
        images = self._market.images().items()
        return next((name for name, known in images if known == rootfs), rootfs[:16])


def compute_units(item: NetworkInstance) -> int:
    """What the network bills it as: by its processors or by its memory, whichever is more."""
    memory_mib = GPU_MEMORY_MIB if item.gpus else MEMORY_MIB
    return max(1, item.vcpus, -(-item.memory_mib // memory_mib))


def adopted_row(
    item: NetworkInstance,
    end: PublishedEnd,
    rate: Decimal,
    crn: Crn | None,
    os_image: str,
    cause: str,
    now: datetime,
) -> Vm:
    """A running VM of no session. It is billed since its message was signed, as far as anybody can tell."""
    began = min(now, item.received_at or item.signed_at or now)
    return Vm(
        item_hash=item.item_hash,
        lease_id=item.stamp.lease_id if item.stamp else "",
        create_id=f"adopted-{item.item_hash[:16]}",
        name=f"recovered-{item.item_hash[:8]}",
        state=VmState.RUNNING,
        cause=cause,
        payer=item.payer,
        signer=item.sender,
        crn_hash=item.crn_hash,
        crn_name=crn.name if crn else "",
        crn_url=crn.url if crn else "",
        compute_units=compute_units(item),
        vcpus=item.vcpus,
        memory_mib=item.memory_mib,
        disk_mib=item.disk_mib,
        os_image=os_image,
        rate=rate,
        created_at=began,
        expires_at=end.expires_at,
        lease_version=end.n + 1,
        broadcast_at=began,
        processed_at=began,
        notified_at=began,
        running_at=now,
    )
