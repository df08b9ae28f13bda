"""The difference between the network and the inventory."""

from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.domain.model import NetworkInstance, Stamp, Vm, VmState
from aleph_agentd.domain.reconcile import Findings, compare
from support.inventory import HOUR, NOW, a_hash, a_vm

GRACE = timedelta(minutes=15)
OLD, YOUNG = NOW - HOUR, NOW - timedelta(minutes=1)
US, OTHER = "0xUs", "0xOther"


def _listed(seed: object, **fields: Any) -> NetworkInstance:
    facts = {"sender": US, "payer": US, "received_at": OLD, "stamp": None} | fields
    return NetworkInstance(item_hash=a_hash(seed), **facts)


def _live(seed: object, **fields: Any) -> Vm:
    return a_vm(seed, **({"state": VmState.RUNNING, "broadcast_at": OLD} | fields))


def _compare(listing: list[NetworkInstance], rows: list[Vm] = []) -> Findings:  # noqa: B006
    listed = {item.item_hash for item in listing}
    return compare(
        listing,
        {vm.item_hash: vm for vm in rows if vm.item_hash in listed},
        [vm for vm in rows if vm.state not in (VmState.GONE, VmState.FAILED)],
        installation="home",
        sender=US,
        now=NOW,
        grace=GRACE,
    )


def test_what_both_know_is_no_finding() -> None:
    """The ordinary sweep says nothing."""
    findings = _compare([_listed(1)], [_live(1)])
    assert findings == Findings(NOW, listed=1)


def test_an_unknown_instance_under_our_key_is_an_orphan() -> None:
    """Also with our own stamp: the row was lost."""
    ours = _listed(2, stamp=Stamp("home", "l", NOW))
    findings = _compare([_listed(1), ours])
    assert [item.item_hash for item in findings.orphans] == [a_hash(1), a_hash(2)]
    assert not findings.strangers


def test_another_installation_s_instance_is_a_stranger_not_an_orphan() -> None:
    """Its own daemon ends it."""
    findings = _compare([_listed(1, stamp=Stamp("elsewhere", "l", NOW))])
    assert [item.item_hash for item in findings.strangers] == [a_hash(1)]
    assert not findings.orphans


@pytest.mark.parametrize(
    ("received_at", "found"),
    [(YOUNG, False), (NOW - GRACE, False), (NOW - GRACE - timedelta(seconds=1), True), (None, True)],
)
def test_an_orphan_is_reported_only_past_the_grace(received_at: Any, found: bool) -> None:
    """A create in flight on another machine is young; an age that is not told counts as old."""
    assert bool(_compare([_listed(1, received_at=received_at)]).orphans) is found


def test_a_tombstone_on_the_network_is_undead() -> None:
    """A rejected message can come back to life."""
    for state in (VmState.GONE, VmState.FAILED):
        dead = a_vm(1, state=state, broadcast_at=OLD)
        assert _compare([_listed(1)], [dead]).undead == (dead,)


def test_a_live_row_that_the_network_does_not_list_is_stale() -> None:
    """Flagged, never closed: one listing proves nothing."""
    missing = _live(2)
    assert _compare([_listed(1)], [_live(1), missing]).stale == (missing,)


@pytest.mark.parametrize(
    "fields",
    [
        {"broadcast_at": YOUNG},
        {"broadcast_at": None, "state": VmState.INTENDED},
        {"forgotten_at": NOW, "state": VmState.DESTROYING},
    ],
    ids=["young", "never broadcast", "billing ended"],
)
def test_a_row_that_need_not_be_listed_is_not_stale(fields: dict[str, Any]) -> None:
    """Within the grace, before its broadcast, after its end."""
    assert _compare([_listed(1)], [_live(1), _live(2, **fields)]).stale == ()


def test_an_empty_listing_while_we_hold_live_vms_is_trouble_and_nothing_else() -> None:
    """Empty means unknown, never gone."""
    findings = _compare([], [_live(1), _live(2)])
    assert "2 live VMs" in findings.trouble
    assert findings == Findings(NOW, trouble=findings.trouble)


def test_an_empty_listing_with_nothing_live_is_fine() -> None:
    """A fresh installation has no VMs."""
    assert _compare([], [_live(1, broadcast_at=YOUNG)]) == Findings(NOW)


def test_what_another_sender_stamped_with_our_name_is_ignored() -> None:
    """Stamps are claims; only our own signature counts (rules.md 8)."""
    forged = _listed(1, sender=OTHER, stamp=Stamp("home", "l", NOW))
    assert _compare([forged]) == Findings(NOW)


def test_another_sender_s_listing_does_not_stand_in_for_ours() -> None:
    """A listing of only foreign messages is an empty listing."""
    assert _compare([_listed(1, sender=OTHER)], [_live(2)]).trouble
