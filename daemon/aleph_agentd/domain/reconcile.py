"""The difference between what the network lists and what the inventory holds, and what may be done of it. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .model import LIVE, TOMBSTONES, NetworkInstance, PublishedEnd, Vm, VmState

STALE = "stale"
"""The flag of a row that the network does not know any more."""
MOST_ENDED = 5
"""More VMs than this, or more than half of them, are never ended by one sweep."""
FOREIGN_GRACE = timedelta(hours=1)
"""How long past its lease another installation's VM is left to its own daemon."""
UNREADABLE_GRACE = timedelta(hours=1)
"""How long past its stamp a VM may run while it is not known whether its lease was extended."""


@dataclass(frozen=True)
class Findings:
    """What one sweep saw, and what it did about it."""

    at: datetime
    """Of the last look that saw something; 1970 before the first one."""
    orphans: tuple[NetworkInstance, ...] = ()
    """Under our key, without a row and without a stamp, older than the grace: for a human to decide."""
    strangers: tuple[NetworkInstance, ...] = ()
    """Stamped by another installation: its own to end, until an hour past the lease."""
    lost: tuple[NetworkInstance, ...] = ()
    """Stamped by this installation, without a row; what the sweep could take in is not here any more."""
    undead: tuple[Vm, ...] = ()
    """Tombstones that the network lists as alive."""
    stale: tuple[Vm, ...] = ()
    """Rows past the grace that the network does not list."""
    back: tuple[Vm, ...] = ()
    """Rows flagged as stale that it lists again."""
    unlocated: tuple[Vm, ...] = ()
    """Adopted rows whose host or address is not known yet."""
    trouble: str = ""
    """Why nothing new can be said; then all the rest is what an earlier sweep saw, if there was one."""
    halted: str = ""
    """Why the sweep ended nothing, although it should: too much at once, so a human decides."""
    adopted: tuple[Vm, ...] = ()
    """Rows that this sweep wrote."""
    empty_inventory: bool = False
    """There are strangers, and the inventory never held a row: it may be lost."""
    listed: int = 0

    def without(self, item_hash: str) -> "Findings":
        """The same, once this VM got a row."""

        def rest(items: tuple[NetworkInstance, ...]) -> tuple[NetworkInstance, ...]:
            return tuple(item for item in items if item.item_hash != item_hash)

        return replace(self, orphans=rest(self.orphans), strangers=rest(self.strangers), lost=rest(self.lost))

    @property
    def others_live(self) -> int:
        """How many live VMs under our key are not in the inventory."""
        return len(self.orphans) + len(self.strangers) + len(self.lost)


def notable(vm: Vm, listed: Collection[str]) -> bool:
    """Whether there may be something to say of a row, given the hashes that the network lists."""
    if vm.state in TOMBSTONES:
        return vm.item_hash in listed
    return vm.item_hash not in listed or vm.warned == STALE or _unlocated(vm)


def compare(
    listing: Iterable[NetworkInstance],
    known: Collection[str],
    rows: Iterable[Vm],
    *,
    installation: str,
    sender: str,
    now: datetime,
    grace: timedelta,
) -> Findings:
    """One sweep's findings. `known`: the listed hashes that have a row; `rows`: those that are `notable`.

    An empty listing while we hold live VMs is unknown, not "all gone".
    """
    ours = [item for item in listing if item.sender == sender]
    rows = list(rows)
    live = [vm for vm in rows if vm.state in LIVE and vm.broadcast_at is not None]
    old = [
        vm
        for vm in live
        if vm.broadcast_at is not None and now - vm.broadcast_at > grace and vm.forgotten_at is None
    ]
    if not ours and old:
        return Findings(
            now, trouble=f"the network listed nothing while the inventory holds {len(old)} live VMs"
        )
    listed = {item.item_hash for item in ours}
    unknown = [item for item in ours if item.item_hash not in known]
    # A row is always written before its message is posted, and read after the listing: no grace for our own.
    lost = tuple(item for item in unknown if _stamped_by(item, installation))
    others = [
        item for item in unknown if not _stamped_by(item, installation) and _past_grace(item, now, grace)
    ]
    return Findings(
        now,
        orphans=tuple(item for item in others if item.stamp is None),
        strangers=tuple(item for item in others if item.stamp is not None),
        lost=lost,
        undead=tuple(vm for vm in rows if vm.state in TOMBSTONES and vm.item_hash in listed),
        stale=tuple(vm for vm in old if vm.item_hash not in listed),
        back=tuple(vm for vm in live if vm.warned == STALE and vm.item_hash in listed),
        unlocated=tuple(vm for vm in live if _unlocated(vm)),
        listed=len(ours),
    )


def lease_end(
    item: NetworkInstance, ends: Mapping[str, PublishedEnd] | None, now: datetime
) -> PublishedEnd | None:
    """Until when a stamped VM may run, as the network alone tells; None while that is not known.

    `ends` are the published extensions; None: they could not be read, and at most an hour is waited for them.
    """
    if item.stamp is None:
        return None
    stamped = item.stamp.expires_at
    if ends is None:
        return PublishedEnd(0, stamped) if now >= stamped + UNREADABLE_GRACE else None
    found = ends.get(item.item_hash)
    return PublishedEnd(found.n, max(stamped, found.expires_at)) if found else PublishedEnd(0, stamped)


def abandoned(
    item: NetworkInstance, ends: Mapping[str, PublishedEnd] | None, now: datetime
) -> PublishedEnd | None:
    """The end of another installation's lease, if it is over for so long that its daemon must be dead."""
    end = lease_end(item, ends, now)
    grace = FOREIGN_GRACE if ends is not None else FOREIGN_GRACE + UNREADABLE_GRACE
    return end if end and now >= end.expires_at + grace else None


def too_many(ending: int, live: int) -> str:
    """Why one sweep must not end so many; empty when it may. A single VM is no mass."""
    if ending > MOST_ENDED or (ending > 1 and 2 * ending > live):
        return f"{ending} of {live} VMs would be ended by one sweep"
    return ""


def _unlocated(vm: Vm) -> bool:
    return (vm.state is VmState.RUNNING and not vm.host_ipv4) or bool(vm.crn_hash and not vm.crn_url)


def _stamped_by(item: NetworkInstance, installation: str) -> bool:
    return item.stamp is not None and item.stamp.installation == installation


def _past_grace(item: NetworkInstance, now: datetime, grace: timedelta) -> bool:
    return item.received_at is None or now - item.received_at > grace
