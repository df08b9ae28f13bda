"""The difference between what the network lists and what the inventory holds. Pure; reports only, so far."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from .model import LIVE, TOMBSTONES, NetworkInstance, Vm


@dataclass(frozen=True)
class Findings:
    """What one sweep saw. None of it is acted upon by the sweep itself."""

    at: datetime
    orphans: tuple[NetworkInstance, ...] = ()
    """Under our key, without a row, older than the grace."""
    strangers: tuple[NetworkInstance, ...] = ()
    """Stamped by another installation: its own to end."""
    undead: tuple[Vm, ...] = ()
    """Tombstones that the network lists as alive."""
    stale: tuple[Vm, ...] = ()
    """Rows past the grace that the network does not list."""
    trouble: str = ""
    """Why nothing new can be said; then all the rest is what an earlier sweep saw, if there was one."""
    listed: int = 0

    @property
    def others_live(self) -> int:
        """How many live VMs under our key are not in the inventory."""
        return len(self.orphans) + len(self.strangers)


def compare(
    listing: Iterable[NetworkInstance],
    rows: Mapping[str, Vm],
    live: Iterable[Vm],
    *,
    installation: str,
    sender: str,
    now: datetime,
    grace: timedelta,
) -> Findings:
    """One sweep's findings. `rows` holds the known ones among the listed hashes, `live` all live rows.

    An empty listing while we hold live VMs is unknown, not "all gone".
    """
    ours = [item for item in listing if item.sender == sender]
    live = [vm for vm in live if vm.broadcast_at is not None]
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
    unknown = [item for item in ours if item.item_hash not in rows and _past_grace(item, now, grace)]
    strangers = [item for item in unknown if item.stamp and item.stamp.installation != installation]
    return Findings(
        now,
        orphans=tuple(item for item in unknown if item not in strangers),
        strangers=tuple(strangers),
        undead=tuple(vm for vm in rows.values() if vm.state in TOMBSTONES and vm.item_hash in listed),
        stale=tuple(vm for vm in old if vm.state in LIVE and vm.item_hash not in listed),
        listed=len(ours),
    )


def _past_grace(item: NetworkInstance, now: datetime, grace: timedelta) -> bool:
    return item.received_at is None or now - item.received_at > grace
