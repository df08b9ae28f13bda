"""The difference between the network and the inventory."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from aleph_agentd.domain.model import NetworkInstance, PublishedEnd, Stamp, Vm, VmState
from aleph_agentd.domain.reconcile import Findings, abandoned, compare, lease_end, notable, too_many
from support.inventory import HOUR, NOW, a_hash, a_vm

GRACE = timedelta(minutes=15)
OLD, YOUNG = NOW - HOUR, NOW - timedelta(minutes=1)
US, OTHER = "0xUs", "0xOther"


def _listed(seed: object, **fields: Any) -> NetworkInstance:
    facts = {"sender": US, "payer": US, "received_at": OLD, "stamp": None} | fields
    return NetworkInstance(item_hash=a_hash(seed), **facts)


def _live(seed: object, **fields: Any) -> Vm:
    return a_vm(
        seed, **({"state": VmState.RUNNING, "broadcast_at": OLD, "host_ipv4": "203.0.113.7"} | fields)
    )


def _compare(listing: list[NetworkInstance], rows: list[Vm] = []) -> Findings:  # noqa: B006
    listed = {item.item_hash for item in listing}
    return compare(
        listing,
        listed & {vm.item_hash for vm in rows},
        [vm for vm in rows if notable(vm, {item.item_hash for item in listing if item.sender == US})],
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
    """Nobody stamped it: a human decides."""
    findings = _compare([_listed(1)])
    assert [item.item_hash for item in findings.orphans] == [a_hash(1)]
    assert not findings.strangers and not findings.lost


def test_with_our_own_stamp_it_is_a_row_that_was_lost_however_young() -> None:
    """Rows are written before messages are posted, so there is nothing to wait for."""
    findings = _compare([_listed(2, stamp=Stamp("home", "l", NOW), received_at=YOUNG)])
    assert [item.item_hash for item in findings.lost] == [a_hash(2)]
    assert not findings.orphans and findings.others_live == 1


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


def test_a_flagged_row_that_is_listed_again_is_back() -> None:
    """Its flag can go."""
    flagged = _live(1, warned="stale")
    assert _compare([_listed(1)], [flagged]).back == (flagged,)


def test_adopted_rows_without_a_host_or_an_address_are_to_be_located() -> None:
    """A row that is still being set up is not."""
    lost, homeless = _live(1, host_ipv4=""), _live(2, crn_url="")
    findings = _compare(
        [_listed(1), _listed(2), _listed(3)],
        [lost, homeless, _live(3, host_ipv4="", state=VmState.PROVISIONING)],
    )
    assert findings.unlocated == (lost, homeless)


STAMPED = _listed(1, stamp=Stamp("elsewhere", "l", NOW))


@pytest.mark.parametrize(
    ("ends", "end"),
    [
        ({}, PublishedEnd(0, NOW)),
        ({a_hash(2): PublishedEnd(5, NOW + HOUR)}, PublishedEnd(0, NOW)),
        ({a_hash(1): PublishedEnd(2, NOW + HOUR)}, PublishedEnd(2, NOW + HOUR)),
        ({a_hash(1): PublishedEnd(1, NOW - HOUR)}, PublishedEnd(1, NOW)),
    ],
    ids=["not extended", "another was extended", "extended", "never earlier than stamped"],
)
def test_a_lease_ends_as_stamped_or_as_last_extended(ends: Any, end: PublishedEnd) -> None:
    """What the network alone tells."""
    assert lease_end(STAMPED, ends, NOW - HOUR) == end


def test_without_the_extensions_a_lease_is_unknown_until_an_hour_past_its_stamp() -> None:
    """Unreadable is not "never extended"; but it is not waited for without end (rules.md 9)."""
    almost = NOW + HOUR - timedelta(seconds=1)
    assert lease_end(STAMPED, None, almost) is None
    assert lease_end(STAMPED, None, NOW + HOUR) == PublishedEnd(0, NOW)
    assert lease_end(_listed(1), {}, NOW) is None


@pytest.mark.parametrize(
    ("ends", "hours"), [({}, 1), ({a_hash(1): PublishedEnd(1, NOW + HOUR)}, 2), (None, 2)]
)
def test_another_installation_s_vm_is_abandoned_an_hour_past_its_lease(ends: Any, hours: int) -> None:
    """Extensions included; two hours past its stamp while they cannot be read."""
    end = NOW + hours * HOUR
    assert abandoned(STAMPED, ends, end - timedelta(seconds=1)) is None
    assert abandoned(STAMPED, ends, end) is not None


@pytest.mark.parametrize(
    ("ending", "live", "halted"),
    [(0, 0, False), (1, 1, False), (2, 4, False), (2, 3, True), (5, 10, False), (6, 1000, True)],
)
def test_more_than_five_or_more_than_half_are_too_many(ending: int, live: int, halted: bool) -> None:
    """One alone is no mass."""
    assert bool(too_many(ending, live)) is halted


def test_a_row_that_both_sides_agree_on_need_not_be_looked_at() -> None:
    """Of ten thousand rows a sweep keeps the few that are notable."""
    listed = {a_hash(1)}
    assert not notable(_live(1), listed)
    assert notable(_live(1, warned="stale"), listed)
    assert notable(_live(1, host_ipv4=""), listed)
    assert notable(_live(2), listed)
    assert notable(a_vm(1, state=VmState.GONE), listed)
    assert not notable(a_vm(2, state=VmState.GONE), listed)


def test_an_inventory_that_lost_thousands_of_rows_is_compared_at_once() -> None:
    """One look at each: comparing all with all would hold up everything else for minutes."""
    looks = 0

    class Counted(str):
        def __eq__(self, other: object) -> bool:
            nonlocal looks
            looks += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    stamp = Stamp("home", "l", NOW)
    listing = [replace(_listed(n, stamp=stamp), item_hash=Counted(a_hash(n))) for n in range(300)]
    assert len(_compare(listing).lost) == 300
    assert looks < 3 * len(listing)
